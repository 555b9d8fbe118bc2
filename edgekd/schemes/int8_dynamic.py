"""Weights of matrix products, LSTMs and embeddings in int8; ranges of activations are taken while running."""

import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from edgekd.device import Numerics
from edgekd.external_data import is_large
from edgekd.schemes.calibration import CalibrationData, Method
from edgekd.schemes.quantizer import already_integer, finish, prepare, refusing, write_scheme
from edgekd.schemes.scheme import Evidence, SchemeResult
from edgekd.schemes.spectrum import before_logarithm

DYNAMIC_OPERATORS = ["Gather", "Gemm", "LSTM", "MatMul"]
"""Gather reads embeddings, which are most of a small text model's file. Without Conv: ConvInteger runs up to ten times
slower than float convolution, and some builds lack it."""
DYNAMIC_KERNELS = {"DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulInteger"}


def int8_dynamic(
    model: Path,
    out: Path,
    *,
    calibration: CalibrationData | None,
    numerics: Numerics,
    method: Method = "minmax",
    evidence: Evidence | None = None,
) -> SchemeResult:
    """Write int8 weights, symmetric, per channel and with 7 bits as `numerics` says; no calibration data are used.

    With an LSTM there is one scale per tensor: on x86 two layers of 128 took 0.52 of fp32's time so, and 0.64 with one
    per channel, at the same signal within 0.2 dB. Skipped where the graph multiplies by no constant matrix.

    Raises:
        BadInput: the graph cannot be quantized.
    """
    if skipped := already_integer(model):
        return SchemeResult(scheme="int8_dynamic", skipped=skipped)

    prepared = prepare(model)
    with refusing(model), tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        written = Path(folder) / "quantized.onnx"
        quantize_dynamic(
            prepared.graph,
            written,
            op_types_to_quantize=DYNAMIC_OPERATORS,
            per_channel=numerics.per_channel and not any(node.op_type == "LSTM" for node in prepared.graph.graph.node),
            reduce_range=numerics.reduce_range,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=before_logarithm(prepared.graph),
            use_external_data_format=is_large(prepared.graph),
        )
        graph = finish(onnx.load(written), prepared)
    if not any(node.op_type in DYNAMIC_KERNELS for node in graph.graph.node):
        skipped = "the graph has no MatMul, Gemm or LSTM with constant weights"
        return SchemeResult(scheme="int8_dynamic", skipped=skipped, notes=prepared.notes)
    return write_scheme("int8_dynamic", graph, out, prepared.notes)
