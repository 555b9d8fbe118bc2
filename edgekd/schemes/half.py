"""Weights in two bytes: `bf16` and `fp16`, for runtimes that compute in that precision natively.

The graph stays a float32 graph whose weights are widened by a Cast. So no operator has to bear the precision: the
runtime computes in what its session asks for (`edgekd.schemes.offered`) and keeps in float32 what must be, and inputs
and outputs stay as they are.
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edgekd.device import Numerics
from edgekd.schemes.calibration import CalibrationData, Method
from edgekd.schemes.quantizer import finish, write_scheme
from edgekd.schemes.scheme import Evidence, SchemeResult
from edgekd.schemes.weights import CONVOLUTIONS, PRODUCTS, Stored, read_float, weights_read_by, with_stored

LARGEST_FP16 = float(np.finfo(np.float16).max)


def bf16(
    model: Path,
    out: Path,
    *,
    calibration: CalibrationData | None,
    numerics: Numerics,
    method: Method = "minmax",
    evidence: Evidence | None = None,
) -> SchemeResult:
    """Write the weights as bfloat16: the range of float32, and 8 bits of precision.

    Raises BadInput where the graph cannot be read.
    """
    return _half("bf16", model, out, TensorProto.BFLOAT16)


def fp16(
    model: Path,
    out: Path,
    *,
    calibration: CalibrationData | None,
    numerics: Numerics,
    method: Method = "minmax",
    evidence: Evidence | None = None,
) -> SchemeResult:
    """Write the weights as float16: 11 bits of precision, up to 65504. A tensor with a larger value stays as it is.

    Raises BadInput where the graph cannot be read.
    """
    return _half("fp16", model, out, TensorProto.FLOAT16)


def _half(scheme: str, model: Path, out: Path, kind: int) -> SchemeResult:
    prepared = read_float(model)
    if isinstance(prepared, str):
        return SchemeResult(scheme=scheme, skipped=prepared)
    weights = weights_read_by(prepared.graph, PRODUCTS | CONVOLUTIONS)
    fitting = weights
    if kind == TensorProto.FLOAT16:
        fitting = {name: value for name, value in weights.items() if np.abs(value).max(initial=0) <= LARGEST_FP16}
    if not fitting:
        return SchemeResult(scheme=scheme, skipped="the graph has no weights to store in two bytes")
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    stored = {}
    for name, value in fitting.items():
        tensor = numpy_helper.from_array(value.astype(dtype), f"{name}_{scheme}")
        stored[name] = Stored([tensor], helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    notes: tuple[str, ...] = ()
    if len(fitting) < len(weights):
        notes = (f"{len(weights) - len(fitting)} tensors stay in fp32: fp16 holds nothing over {LARGEST_FP16:g}",)
    graph = finish(with_stored(prepared.graph, stored), prepared)
    return write_scheme(scheme, graph, out, notes)
