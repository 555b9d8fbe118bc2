"""Whether two builds can be compared: another model or device is refused, a figure of another meaning left out."""

from collections.abc import Mapping

from edgekd.errors import BadInput
from edgekd.figures import Number
from edgekd.formats.onnx_file import OnnxValue, onnx_inputs, onnx_outputs, read_onnx
from edgekd.formats.zip_members import shown
from edgekd.regression.build import Build

_MACHINE = ("cpu", "architecture", "logical_cpus")
_OF_RUNTIME = ("memory", "latency", "conversions", "operators", "arena")
OF_RUNS = ("score", "instructions")
"""What files do not tell by themselves."""
_OTHER_MOMENT = (
    "times taken at different moments decide nothing: name a run folder that holds its artifact, an artifact or an "
    "ONNX file, and both are timed in turns"
)


def refuse_another(baseline: Build, build: Build, *, retrained: bool) -> None:
    """Refuse a baseline that answers another question than the build.

    Raises:
        BadInput: it is for another device, has other classes, inputs or outputs, or was made from another model file
            and that is not said to be the same model trained anew.
    """
    if baseline.target and build.target and baseline.target != build.target:
        raise BadInput(
            f"{baseline.name} was made for {shown(baseline.target)}, {build.name} for {shown(build.target)}; give a "
            "baseline for the same device."
        )
    if baseline.classes and build.classes and baseline.classes != build.classes:
        raise BadInput(
            f"{baseline.name} is of another model: it has {_classes(baseline)}, {build.name} has {_classes(build)}; "
            "give a baseline of the same model."
        )
    if baseline.model and build.model:
        before, now = (read_onnx(path) for path in (baseline.model, build.model))
        for what, read in (("inputs", onnx_inputs), ("outputs", onnx_outputs)):
            theirs, ours = read(before), read(now)
            if len(theirs) != len(ours) or not all(map(_alike, theirs, ours)):
                raise BadInput(
                    f"{baseline.name} is of another model: its {what} are {_values(theirs)}, those of {build.name} are "
                    f"{_values(ours)}; give a baseline of the same model."
                )
    if baseline.source and build.source and baseline.source != build.source and not retrained:
        raise BadInput(
            f"{baseline.name} was made from another model file than {build.name} (SHA-256 {baseline.source[:12]} and "
            f"{build.source[:12]}); give a baseline of the same model, or --retrained if it is that model trained anew."
        )


def why_left_out(
    baseline: Build, build: Build, before: Mapping[str, Number], now: Mapping[str, Number], *, from_files: bool
) -> dict[str, str]:
    """Return the figures that one of the two has and that cannot be compared, with the reason.

    `from_files`: all but `OF_RUNS` were found out from both model files just now, by this version on this machine.
    """
    found: dict[str, str] = {}
    for metric in {**before, **now}:
        if metric not in before or metric not in now:
            found[metric] = f"not known of {'the baseline' if metric not in before else 'this build'}"
        elif metric in _OF_RUNTIME and "openvino" in (baseline.runtime, build.runtime):
            found[metric] = "what OpenVINO makes of a file is not known"
        elif metric in OF_RUNS or not from_files:
            reason = _difference(metric, baseline, build, before[metric], now[metric])
            if reason:
                found[metric] = reason
    return found


def _difference(metric: str, baseline: Build, build: Build, before: Number, now: Number) -> str | None:
    if before.word != now.word:
        return f"{before.word} of the baseline and {now.word} of this build, which are never mixed"
    if metric == "score":
        names = {baseline.score_name, build.score_name} - {None}
        return _other_samples(baseline, build) if len(names) < 2 else "the two scores are not of one kind"
    if metric == "instructions" and before.place != now.place:
        return f"counted on {shown(before.place)} and {shown(now.place)}; --emulate counts both on one"
    if metric == "latency" and now.word == "measured":
        return _OTHER_MOMENT
    if metric == "memory" and now.word == "measured":
        return _other_machine(baseline, build)
    if metric in ("latency", "memory", "macs") and baseline.edgekd != build.edgekd:
        return f"figures of edgekd {shown(baseline.edgekd)} and {shown(build.edgekd)}, which count otherwise"
    return None


def _other_samples(baseline: Build, build: Build) -> str | None:
    if baseline.test and build.test and baseline.test == build.test:
        return None
    return "the two were scored on other test samples"


def _other_machine(baseline: Build, build: Build) -> str | None:
    machines = [tuple(side.environment.get(key) for key in _MACHINE) for side in (baseline, build)]
    if machines[0] != machines[1] or not any(machines[0]):
        return "measured on another machine"
    versions = [side.environment.get("versions") for side in (baseline, build)]
    known = [found.get(build.runtime) if isinstance(found, Mapping) else None for found in versions]
    if known[0] != known[1]:
        return f"measured with {build.runtime} {shown(known[0])} and {shown(known[1])}"
    return None


def _classes(build: Build) -> str:
    return f"{len(build.classes)} classes ({', '.join(shown(name) for name in build.classes[:3])}, ...)"


def _alike(one: OnnxValue, other: OnnxValue) -> bool:
    """Whether name, type and sizes are the same; a size that is free in one file may be fixed in the other."""
    if (one.name, one.dtype) != (other.name, other.dtype):
        return False
    if one.shape is None or other.shape is None:
        return True
    fixed = [(a, b) for a, b in zip(one.shape, other.shape, strict=False) if isinstance(a, int) and isinstance(b, int)]
    return len(one.shape) == len(other.shape) and all(a == b for a, b in fixed)


def _values(values: tuple[OnnxValue, ...]) -> str:
    return ", ".join(
        f"{shown(value.name)} {value.dtype} "
        f"({', '.join(str(size) if isinstance(size, int) else 'any' for size in value.shape or ())})"
        for value in values[:5]
    )
