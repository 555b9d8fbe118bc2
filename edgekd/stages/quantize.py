"""Stage 4: the float model under every scheme; each candidate is loaded and run before it counts."""

import logging
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

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
from edgekd.numerics import is_arm
from edgekd.onnx_graph import to_bytes
from edgekd.parity import worst_sqnr_db
from edgekd.preprocessing import Preprocessing, sample_inputs
from edgekd.progress import Listener, Tick
from edgekd.quantization import FusionVerdict, LadderStep, NodeSignal, SchemeFile, Share
from edgekd.record import Record
from edgekd.runtimes import RUNTIMES, predict_all
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.inspect_graph import operators_left
from edgekd.schemes.ladder import climb, enough
from edgekd.schemes.names import CALIBRATED, parse_scheme
from edgekd.schemes.noise import accumulated_noise, noise_inputs
from edgekd.schemes.offered import offered, on_this_machine, runs_in, session_options
from edgekd.schemes.oracle import judge_fusion
from edgekd.schemes.quantizer import prepare
from edgekd.schemes.scheme import Evidence, SchemeResult
from edgekd.schemes.share import quantized_share
from edgekd.schemes.signal import check_signal
from edgekd.schemes.table import SCHEMES
from edgekd.schemes.twin import needs_twin, unsigned
from edgekd.tasks.task import Task
from edgekd.workspace import file_sha256, write_atomic

log = logging.getLogger(__name__)

SIGNAL_INPUTS = 64
SAME_TENSORS = ("int8_static", "int8_products", "int8_fused", "int8_mixed", "int8_searched", "int8_qad")
"""Schemes whose graph computes the same tensors as the float one, to within noise."""


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
    model: Path
    profile: DeviceProfile
    runtimes: tuple[str, ...]
    inputs: npt.NDArray[Any]
    reference: tuple[npt.NDArray[np.float32], ...]
    calibration: CalibrationData | None
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
    work = _Work(folder, model, profile, runtimes, inputs, predict_all(model, [inputs]), calibration, evidence)
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
        result = _no_runtime(scheme, work) or _apply(scheme, work)
        if result.skipped:
            work.skipped[scheme] = result.skipped
            log.info("%s does not apply: %s", scheme, result.skipped)
        else:
            work.files[scheme] = _examine(scheme, result, work)
    return work.skipped.get(scheme) or work.files[scheme].rejected


def _able(scheme: str, work: _Work) -> tuple[str, ...]:
    """Runtimes that compete and may run a scheme on the device."""
    return tuple(name for name in runs_in(scheme, work.profile) if name in work.runtimes)


def _no_runtime(scheme: str, work: _Work) -> SchemeResult | None:
    """Why nothing would run the scheme's file: no runtime of the device may, or it is not installed here."""
    able = _able(scheme, work)
    if any(RUNTIMES[name].available() for name in able):
        return None
    if able:
        reasons = [f"{able[0]} is not installed here; {RUNTIMES[able[0]].install} adds it"]
    else:
        there = [name for name in work.profile.runtimes if name in work.runtimes]
        reasons = [str(offered(scheme, name, work.profile)) for name in there]
    return SchemeResult(scheme=scheme, skipped="; ".join(reasons))


def _apply(scheme: str, work: _Work) -> SchemeResult:
    """Write the file; a scheme that cannot take this model is skipped, except fp32, on which all else rests."""
    variant = parse_scheme(scheme, SCHEMES)
    if variant is None:
        raise BadInput(f"There is no scheme {scheme!r}.")
    try:
        return SCHEMES[variant.base](
            work.model,
            work.folder / f"{scheme}.onnx",
            calibration=work.calibration,
            numerics=variant.numerics_of(work.profile.numerics),
            method=variant.method,
            evidence=work.evidence,
        )
    except BadInput as error:
        if scheme == "fp32":
            raise
        return SchemeResult(scheme=scheme, skipped=str(error))


def _examine(scheme: str, result: SchemeResult, work: _Work) -> SchemeFile:
    """Load and run the file; a broken one is a result with a reason, not an exception.

    Its signal is taken in the first runtime in which it may compete, in the precision that it is run in there.
    """
    path = work.folder / str(result.file)
    runtime = next(name for name in _able(scheme, work) if RUNTIMES[name].available())
    options = on_this_machine(session_options(scheme, runtime, work.profile))
    signal: float | None = None
    operators: dict[str, int] = {}
    try:
        said = predict_all(path, [work.inputs], runtime=runtime, options=options)
        signal = worst_sqnr_db(work.reference, said)
        operators = operators_left(path, arm=is_arm(work.profile.isa))
        rejected = check_signal(signal)
    except BadInput as error:
        rejected = str(error)
    return SchemeFile(
        scheme=scheme,
        file=path.name,
        sha256=file_sha256(path),
        size_kib=round(path.stat().st_size / 1024, 1),
        sqnr_db=signal,
        operators=operators,
        twin=_write_twin(scheme, path, work.profile),
        left_float=result.left_float,
        notes=result.notes,
        fusion=None if rejected else _fusion(scheme, path, work),
        share=None if rejected else _share(path, work),
        layers=() if rejected else _layers(scheme, path, work),
        rejected=rejected,
    )


def _write_twin(scheme: str, path: Path, profile: DeviceProfile) -> str | None:
    """The name of the twin, where one is needed: for Arm and ONNX Runtime, which has fewer kernels on x86."""
    graph = onnx.load(path)
    elsewhere = not is_arm(profile.isa) or offered(scheme, "onnxruntime", profile) is not None
    if elsewhere or not needs_twin(graph):
        return None
    twin = path.with_suffix(".twin.onnx")
    write_atomic(twin, to_bytes(unsigned(graph)))
    return twin.name


def _fusion(scheme: str, path: Path, work: _Work) -> FusionVerdict | None:
    """What int8 is predicted to cost on the target; None for floats, other runtimes and what cannot be counted."""
    if not scheme.startswith("int8") or offered(scheme, "onnxruntime", work.profile) is not None:
        return None
    try:
        return judge_fusion(work.model, path, work.profile)
    except BadInput as error:
        log.info("whether %s pays cannot be predicted: %s", scheme, error)
        return None


def _share(path: Path, work: _Work) -> Share | None:
    try:
        return quantized_share(path, arm=is_arm(work.profile.isa))
    except BadInput as error:
        log.info("how much of %s is int8 cannot be counted: %s", path.name, error)
        return None


def _layers(scheme: str, path: Path, work: _Work) -> tuple[NodeSignal, ...]:
    """Signal at every node; empty for schemes that do not keep the float graph's tensors as they are."""
    if not scheme.startswith(SAME_TENSORS) or work.calibration is None:
        return ()
    graph = prepare(work.model).graph
    return accumulated_noise(graph, onnx.load(path), noise_inputs(graph, work.calibration))


def _methods(schemes: tuple[str, ...]) -> frozenset[str]:
    """Methods of calibration that schemes take their ranges by."""
    variants = [parse_scheme(scheme, SCHEMES) for scheme in schemes]
    return frozenset(one.method for one in variants if one is not None and one.base in CALIBRATED)
