"""Matrix products and embeddings in int8 with everything between them float: for transformers.

An integer product hands out floats at no cost. What lies between products in a transformer (residual sums, attention
scores with masks of -1e38, normalisation) has ranges that 256 even steps do not hold, and is a small part of the time.
Measured on x86 with VNNI, as signal and as CPU time relative to fp32, against `int8_static`: a ViT of 12 layers 27.5 dB
at 0.52 against 3.1 dB at 0.57, a BERT of 4 layers trained on SST-2 51.3 dB at 0.73 against 9.4 dB at 0.66.
"""

from pathlib import Path

import onnx

from edgekd.device import Numerics
from edgekd.schemes.calibration import CalibrationData, Method
from edgekd.schemes.qdq import with_pairs
from edgekd.schemes.quantizer import already_integer, finish, prepare, refusing, write_scheme
from edgekd.schemes.ranges import find_ranges
from edgekd.schemes.scheme import Evidence, SchemeResult
from edgekd.schemes.weights import matrix_share

PRODUCTS = ("Gather", "Gemm", "MatMul")
FLOAT_OUTPUTS = ("Gemm", "MatMul")
WORTH_WHILE = 0.5
"""Share of the parameters that matrices and embeddings must hold; below, convolutions are what counts."""


def int8_products(
    model: Path,
    out: Path,
    *,
    calibration: CalibrationData | None,
    numerics: Numerics,
    method: Method = "minmax",
    evidence: Evidence | None = None,
) -> SchemeResult:
    """Write Q/DQ pairs before matrix products and embeddings only.

    Skipped without calibration data, and where other operators hold most of the parameters.

    Raises:
        BadInput: the graph cannot be quantized.
    """
    if skipped := already_integer(model):
        return SchemeResult(scheme="int8_products", skipped=skipped)
    if calibration is None:
        return SchemeResult(scheme="int8_products", skipped="there are no calibration data")
    share = matrix_share(onnx.load(model))
    if share < WORTH_WHILE:
        skipped = f"matrices and embeddings hold only {100 * share:.0f} % of the parameters"
        return SchemeResult(scheme="int8_products", skipped=skipped)
    prepared = prepare(model)
    with refusing(model):
        ranges = find_ranges(prepared.graph, calibration, method)
        graph = with_pairs(prepared.graph, ranges, numerics, operators=PRODUCTS, float_outputs=FLOAT_OUTPUTS)
    graph = finish(graph, prepared)
    if not any(node.op_type == "QuantizeLinear" for node in graph.graph.node):
        return SchemeResult(scheme="int8_products", skipped="no product of the graph has an int8 form")
    return write_scheme("int8_products", graph, out, prepared.notes)
