"""One scheme's file, looked at: it loads and runs, what int8 costs on the target, how much is int8, noise by layer."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgekd.device import DeviceProfile
from edgekd.errors import BadInput
from edgekd.external_data import size_kib, write_onnx
from edgekd.numerics import is_arm
from edgekd.parity import worst_sqnr_db
from edgekd.quantization import FusionVerdict, NodeSignal, SchemeFile, Share
from edgekd.runtimes import RUNTIMES, predict_all
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.inspect_graph import operators_left
from edgekd.schemes.noise import accumulated_noise, noise_inputs
from edgekd.schemes.offered import offered, on_this_machine, runs_in, session_options
from edgekd.schemes.oracle import judge_fusion
from edgekd.schemes.quantizer import prepare, refusing
from edgekd.schemes.scheme import SchemeResult
from edgekd.schemes.share import quantized_share
from edgekd.schemes.signal import check_signal
from edgekd.schemes.twin import needs_twin, unsigned
from edgekd.workspace import file_sha256

log = logging.getLogger(__name__)

SAME_TENSORS = ("int8_static", "int8_products", "int8_fused", "int8_mixed", "int8_searched", "int8_qad")
"""Schemes whose graph computes the same tensors as the float one, to within noise."""


@dataclass(frozen=True)
class FloatModel:
    """What schemes work on, and what their files are held against.

    path, profile: the float file, and the device.
    runtimes: names of those that compete.
    inputs, outputs: inputs (n, ...), and what the float file makes of them.
    """

    path: Path
    profile: DeviceProfile
    runtimes: tuple[str, ...]
    inputs: npt.NDArray[Any]
    outputs: tuple[npt.NDArray[np.float32], ...]
    calibration: CalibrationData | None


def runtimes_for(scheme: str, model: FloatModel) -> tuple[str, ...]:
    """Runtimes that compete and may run a scheme on the device, be they installed here or not."""
    return tuple(name for name in runs_in(scheme, model.profile) if name in model.runtimes)


def examine_file(scheme: str, path: Path, result: SchemeResult, model: FloatModel) -> SchemeFile:
    """Load and run the file; a broken one is a result with a reason, not an exception.

    Its signal is taken in the first runtime in which it may compete, in the precision that it is run in there.
    """
    runtime = next(name for name in runtimes_for(scheme, model) if RUNTIMES[name].available())
    options = on_this_machine(session_options(scheme, runtime, model.profile))
    signal: float | None = None
    operators: dict[str, int] = {}
    try:
        said = predict_all(path, [model.inputs], runtime=runtime, options=options)
        signal = worst_sqnr_db(model.outputs, said)
        operators = operators_left(path, arm=is_arm(model.profile.isa))
        rejected = check_signal(signal)
    except BadInput as error:
        rejected = str(error)
    return SchemeFile(
        scheme=scheme,
        file=path.name,
        sha256=file_sha256(path),
        size_kib=size_kib(path),
        sqnr_db=signal,
        operators=operators,
        twin=_write_twin(scheme, path, model.profile),
        left_float=result.left_float,
        notes=result.notes,
        fusion=None if rejected else _fusion(scheme, path, model),
        share=None if rejected else _share(path, model),
        layers=() if rejected else _layers(scheme, path, model),
        rejected=rejected,
    )


def _write_twin(scheme: str, path: Path, profile: DeviceProfile) -> str | None:
    """The name of the twin, where one is needed: for Arm and ONNX Runtime, which has fewer kernels on x86."""
    elsewhere = not is_arm(profile.isa) or offered(scheme, "onnxruntime", profile) is not None
    if elsewhere or not needs_twin(onnx.load(path, load_external_data=False)):
        return None
    twin = path.with_suffix(".twin.onnx")
    write_onnx(twin, unsigned(onnx.load(path)))
    return twin.name


def _fusion(scheme: str, path: Path, model: FloatModel) -> FusionVerdict | None:
    """What int8 is predicted to cost on the target; None for floats, other runtimes and what cannot be counted."""
    if not scheme.startswith("int8") or offered(scheme, "onnxruntime", model.profile) is not None:
        return None
    try:
        return judge_fusion(model.path, path, model.profile)
    except BadInput as error:
        log.info("whether %s pays cannot be predicted: %s", scheme, error)
        return None


def _share(path: Path, model: FloatModel) -> Share | None:
    try:
        return quantized_share(path, arm=is_arm(model.profile.isa))
    except BadInput as error:
        log.info("how much of %s is int8 cannot be counted: %s", path.name, error)
        return None


def _layers(scheme: str, path: Path, model: FloatModel) -> tuple[NodeSignal, ...]:
    """Signal at every node; empty for schemes that do not keep the float graph's tensors as they are."""
    if not scheme.startswith(SAME_TENSORS) or model.calibration is None:
        return ()
    try:
        graph = prepare(model.path).graph
        with refusing(path):
            return accumulated_noise(graph, onnx.load(path), noise_inputs(graph, model.calibration))
    except BadInput as error:
        log.info("noise by layer of %s cannot be told: %s", scheme, error)
        return ()
