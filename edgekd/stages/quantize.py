"""Stage 4: the float model under every scheme; each candidate is loaded and run before it counts."""

import logging
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from edgekd.device import DeviceProfile
from edgekd.errors import BadInput
from edgekd.evidence import (
    blocks_better_float,
    calibration_inputs,
    estimated_ms,
    scorer,
    stored_ranges,
    training_inputs,
)
from edgekd.preprocessing import Preprocessing, sample_inputs
from edgekd.progress import Listener, Tick
from edgekd.quantization import LadderStep, SchemeFile
from edgekd.quantized_file import FloatModel, examine_file, runtimes_for
from edgekd.record import Record
from edgekd.runtimes import RUNTIMES, predict_all
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.ladder import climb, enough
from edgekd.schemes.names import CALIBRATED, parse_scheme
from edgekd.schemes.offered import offered
from edgekd.schemes.scheme import Evidence, SchemeResult
from edgekd.schemes.table import SCHEMES
from edgekd.tasks.task import Task

log = logging.getLogger(__name__)

SIGNAL_INPUTS = 64


class Quantized(Record):
    """Every scheme that produced a file, those that did not apply with the reason, and the ladder as far as it went."""

    files: tuple[SchemeFile, ...]
    skipped: dict[str, str]
    notes: tuple[str, ...]
    ladder: tuple[LadderStep, ...] = ()


@dataclass(frozen=True)
class _Work:
    """What every scheme is given, and what has come of it so far."""

    folder: Path
    model: FloatModel
    evidence: Evidence | None
    files: dict[str, SchemeFile] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def quantize(
    folder: Path,
    *,
    model: Path,
    teacher: Path,
    schemes: tuple[str, ...],
    runtimes: tuple[str, ...],
    rungs: tuple[str, ...],
    profile: DeviceProfile,
    preprocessing: Preprocessing,
    task: Task,
    data: Path | None,
    loaded: Path,
    classes: int,
    calibration_images: int,
    ranges: Path | None = None,
    drop: float | None,
    seconds: float,
    seed: int,
    listen: Listener,
) -> Quantized:
    """Write `SCHEME.onnx` for each scheme that applies, in the numbers that the device's integer kernels want.

    Where int8_static is among them and loses too much score, the `rungs` are climbed until one does not, in the variant
    that the first int8_static is of. What none of `runtimes` may run is skipped. Where this
    machine's kernels want other numbers, `SCHEME.twin.onnx` is written too: it is timed here in the file's place.

    Args:
        ranges: calibrated ranges of an earlier run, taken instead of finding them.
        loaded: the load stage's folder, with what the teacher says of the splits in `data`.
        drop: score that may be lost against the teacher, where the user set that budget.
        seconds: wall time that each rung may take.

    Raises:
        BadInput: calibration data that would poison every int8 file (NaN, infinite, constant, wrongly scaled), or
            ranges of another graph.
    """
    if ranges is not None and data is None:
        raise BadInput("--ranges is for int8 with calibrated activations, which needs --data; leave it out.")
    calibration: CalibrationData | None = None
    evidence: Evidence | None = None
    notes: tuple[str, ...] = ()
    inputs = sample_inputs(SIGNAL_INPUTS, preprocessing.shape, preprocessing.dtype)
    if data is not None:
        calibration, notes = calibration_inputs(
            data, preprocessing, count=calibration_images, classes=classes, seed=seed, tables=folder
        )
        if ranges is not None:
            calibration = replace(calibration, given=stored_ranges(ranges, model, used=_methods((*schemes, *rungs))))
        inputs = calibration.part(0, SIGNAL_INPUTS)
        score = scorer(data, loaded, task, preprocessing, seed=seed)
        evidence = Evidence(
            score=score,
            enough=enough(score(model), score(teacher), drop),
            milliseconds=partial(estimated_ms, profile=profile),
            float_blocks=partial(blocks_better_float, model=model, profile=profile),
            seconds=seconds,
            folder=folder,
            training=training_inputs(data, preprocessing),
            classifier=task.name == "classification",
            seed=seed,
            listen=listen,
        )
    work = _Work(
        folder,
        FloatModel(model, profile, runtimes, inputs, predict_all(model, [inputs]), calibration),
        evidence,
    )
    work.notes.extend(notes)
    for done, scheme in enumerate(schemes):
        listen(Tick("scheme", done, len(schemes), scheme))
        _write(scheme, work)
    steps: tuple[LadderStep, ...] = ()
    first = next((scheme for scheme in work.files if scheme.startswith("int8_static")), None)
    if evidence is not None and first is not None:
        variant = first.removeprefix("int8_static")
        steps = climb(
            (first, *(f"{rung}{variant}" for rung in rungs if rung != "int8_static")),
            write=partial(_write, work=work),
            score=lambda scheme: evidence.score(folder / work.files[scheme].file),
            enough=evidence.enough,
        )
    listen(Tick("scheme", len(schemes), len(schemes), "all written"))
    return Quantized(files=tuple(work.files.values()), skipped=work.skipped, notes=tuple(work.notes), ladder=steps)


def _write(scheme: str, work: _Work) -> str | None:
    """Write a scheme's file and examine it, unless that was done; return why there is none that may compete."""
    if scheme not in work.files and scheme not in work.skipped:
        result = _no_runtime(scheme, work.model) or _apply(scheme, work)
        if result.skipped:
            work.skipped[scheme] = result.skipped
            log.info("%s does not apply: %s", scheme, result.skipped)
        else:
            work.files[scheme] = examine_file(scheme, work.folder / str(result.file), result, work.model)
    return work.skipped.get(scheme) or work.files[scheme].rejected


def _no_runtime(scheme: str, model: FloatModel) -> SchemeResult | None:
    """Why nothing would run the scheme's file: no runtime of the device may, or it is not installed here."""
    able = runtimes_for(scheme, model)
    if any(RUNTIMES[name].available() for name in able):
        return None
    if able:
        reasons = [f"{able[0]} is not installed here; {RUNTIMES[able[0]].install} adds it"]
    else:
        there = [name for name in model.profile.runtimes if name in model.runtimes]
        reasons = [str(offered(scheme, name, model.profile)) for name in there]
    return SchemeResult(scheme=scheme, skipped="; ".join(reasons))


def _apply(scheme: str, work: _Work) -> SchemeResult:
    """Write the file; a scheme that cannot take this model is skipped, except fp32, on which all else rests."""
    variant = parse_scheme(scheme, SCHEMES)
    if variant is None:
        raise BadInput(f"There is no scheme {scheme!r}.")
    try:
        return SCHEMES[variant.base](
            work.model.path,
            work.folder / f"{scheme}.onnx",
            calibration=work.model.calibration,
            numerics=variant.numerics_of(work.model.profile.numerics),
            method=variant.method,
            evidence=work.evidence,
        )
    except BadInput as error:
        if scheme == "fp32":
            raise
        return SchemeResult(scheme=scheme, skipped=str(error))


def _methods(schemes: tuple[str, ...]) -> frozenset[str]:
    """Methods of calibration that schemes take their ranges by."""
    variants = [parse_scheme(scheme, SCHEMES) for scheme in schemes]
    return frozenset(one.method for one in variants if one is not None and one.base in CALIBRATED)
