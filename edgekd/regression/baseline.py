"""A build held against its baseline: in what follows from files and figures, in instructions, and in time side by side.

What another model, device or broken file would make meaningless is refused; what only another machine or version would,
is left out with the reason.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd.budget import Severity
from edgekd.device import HOST, resolve
from edgekd.errors import UsageError
from edgekd.figures import Figures, Number
from edgekd.formats.onnx_file import read_onnx
from edgekd.gate_result import Baseline, Comparison, ComparisonVerdict
from edgekd.numerics import is_arm
from edgekd.regression.build import Build
from edgekd.regression.comparable import OF_RUNS, refuse_another, why_left_out
from edgekd.regression.side_by_side import side_by_side
from edgekd.regression.signals import (
    SIGNALS,
    Facts,
    compare,
    different_operators,
    facts_of_file,
    facts_of_records,
    instructions_of,
)
from edgekd.schemes.offered import PRECISION, on_this_machine
from edgekd.schemes.twin import needs_twin

log = logging.getLogger(__name__)

_TAKEN_OVER = (
    *("arena", "memory_pattern", "prepacking", PRECISION),
    *("session.use_memory_mapped_ort_model", "session.use_ort_model_bytes_for_initializers"),
)
"""Session options that are taken from a build's records; others might have the runtime write files."""
_HANDLED = ("threads", "file")
_OWN_FILES = ("model.ort", "model.mapped.onnx")
_NO_FILE = "needs the model files of both: name a run folder that holds its artifact, an artifact or an ONNX file"
_ESTIMATES = ("latency", "memory")


@dataclass(frozen=True)
class How:
    """How two builds for `target` are compared: timed side by side on the place `on` where `timing`, counted with
    `emulate`. Estimates decide with `allow_estimate`; `retrained` allows a baseline of another model file."""

    target: str
    on: str = HOST
    timing: bool = True
    emulate: bool = False
    allow_estimate: bool = False
    retrained: bool = False


def compare_builds(baseline: Build, build: Build, how: How) -> Baseline:
    """Compare all that both have, in the order of `SIGNALS`.

    Raises:
        BadInput: the baseline is of another model or device, or one of the files is no sound ONNX model.
        UsageError: instructions are asked for where there is no Arm processor or no second model file.
        PlaceLost: the place that times, or the emulation kit, is not there.
    """
    refuse_another(baseline, build, retrained=how.retrained)
    from_files = baseline.model is not None and build.model is not None
    before, now = (_facts(side, how.target, from_files=from_files) for side in (baseline, build))
    left_out = why_left_out(baseline, build, before.signals, now.signals, from_files=from_files)
    found = {
        metric: _compared(metric, before, now, how)
        for metric in before.signals.keys() & now.signals.keys() - left_out.keys()
    }
    if how.emulate:
        found["instructions"] = _instructions(baseline, build, how)
        left_out.pop("instructions", None)
    if how.timing:
        timed = _timed(baseline, build, how)
        if isinstance(timed, str):
            left_out["time"] = timed
        else:
            found["time"] = timed
    return Baseline(
        name=baseline.name,
        edgekd=baseline.edgekd,
        sha256=baseline.sha256,
        comparisons=tuple(found[metric] for metric in SIGNALS if metric in found),
        left_out={metric: left_out[metric] for metric in SIGNALS if metric in left_out},
        notes=tuple(note for side in (baseline, build) for note in _unused_options(side)) if how.timing else (),
    )


def _facts(build: Build, target: str, *, from_files: bool) -> Facts:
    """From the file where both have one, since then the same version of everything looks at both; what a file does not
    tell is from runs."""
    recorded = facts_of_records(build.figures or Figures(), build.operators)
    if not from_files or build.model is None:
        return recorded
    found = facts_of_file(build.model, target)
    of_runs = {metric: recorded.signals[metric] for metric in OF_RUNS if metric in recorded.signals}
    return Facts({**found.signals, **of_runs}, found.operators)


def _compared(metric: str, before: Facts, now: Facts, how: How) -> Comparison:
    number = now.signals[metric]
    severity: Severity | None = None
    if metric in _ESTIMATES and number.word != "measured" and not how.allow_estimate:
        severity = "warn"
    found = compare(metric, before.signals[metric], number, severity=severity)
    if metric in ("operators", "conversions") and found.change and found.change.value:
        found = found.model_copy(update={"reason": different_operators(before.operators, now.operators)})
    if severity and found.verdict != "pass":
        found = found.model_copy(update={"reason": f"by two {number.word} figures, which fail only if allowed to"})
    return found


def _instructions(baseline: Build, build: Build, how: How) -> Comparison:
    if baseline.model is None or build.model is None:
        raise UsageError(f"--emulate {_NO_FILE}.")
    if "openvino" in (baseline.runtime, build.runtime):
        raise UsageError("Only ONNX Runtime is emulated, and one of the two runs in OpenVINO; leave out --emulate.")
    log.info("counting what both execute on the core of %s", how.target)
    before, now = (instructions_of(path, how.target) for path in (baseline.model, build.model))
    return compare("instructions", before, now)


def _timed(baseline: Build, build: Build, how: How) -> Comparison | str:
    """Both in turns at one thread, each with its own session options; or the reason why that would say nothing."""
    if baseline.model is None or build.model is None:
        return _NO_FILE
    if baseline.runtime != build.runtime:
        return f"the baseline runs in {baseline.runtime}, this build in {build.runtime}"
    before, now = (_session(side) for side in (baseline, build))
    if baseline.sha256 == build.sha256 and before == now:
        return _time(None, "pass", "the same file with the same session options")
    if how.on == HOST and _of_arm_alone(how.target, baseline.model, build.model):
        return (
            f"its int8 kernels are those of {how.target}, whose time this machine cannot tell; --emulate counts their "
            "instructions"
        )
    log.info("running both in turns on %s until it is clear which costs more", how.on)
    found = side_by_side(
        _loaded(baseline, baseline.model, how),
        _loaded(build, build.model, how),
        on=how.on,
        runtime=build.runtime,
        session_a=before,
        session_b=now,
        smallest_effect=SIGNALS["time"].smallest_effect,
    )
    elsewhere = f"; taken on {found.ratio.place}, not on {how.target}" if how.on == HOST != how.target else ""
    return _time(_less_one(found.ratio), found.verdict, f"{found.reason}{elsewhere}")


def _time(change: Number | None, verdict: ComparisonVerdict, reason: str) -> Comparison:
    """Without figures of either side: only their ratio means anything."""
    return Comparison(
        metric="time",
        baseline=None,
        now=None,
        change=change,
        smallest_effect=SIGNALS["time"].smallest_effect,
        verdict=verdict,
        reason=reason,
    )


def _session(build: Build) -> dict[str, Any]:
    return on_this_machine({key: value for key, value in build.session.items() if key in _TAKEN_OVER})


def _unused_options(build: Build) -> list[str]:
    unknown = sorted(set(build.session) - {*_TAKEN_OVER, *_HANDLED})
    return [f"the session option {key[:60]} of {build.name} was not taken over" for key in unknown]


def _loaded(build: Build, model: Path, how: How) -> Path:
    """The file that the build's session loads; but one that is optimised for another machine says nothing here."""
    name = build.session.get("file")
    own = model.parent / str(name)
    here_for_another = how.on == HOST != how.target
    return own if name in _OWN_FILES and own.is_file() and not here_for_another else model


def _of_arm_alone(target: str, *models: Path) -> bool:
    """Whether this machine lacks the kernels that the target runs one of the files with."""
    return is_arm(resolve(target).profile.isa) and any(needs_twin(read_onnx(path)) for path in models)


def _less_one(ratio: Number) -> Number:
    bounds = {name: None if bound is None else bound - 1 for name, bound in (("low", ratio.low), ("high", ratio.high))}
    return ratio.model_copy(update={"value": ratio.value - 1, "unit": "share", **bounds})
