"""Weights and activations in int8, with ranges taken from calibration data."""

from collections.abc import Collection
from pathlib import Path

from edgekd.device import Numerics
from edgekd.schemes.calibration import CalibrationData, Method
from edgekd.schemes.qdq import with_pairs
from edgekd.schemes.quantizer import already_integer, finish, prepare, refusing, write_scheme
from edgekd.schemes.ranges import find_ranges
from edgekd.schemes.scheme import Evidence, SchemeResult


def int8_static(
    model: Path,
    out: Path,
    *,
    calibration: CalibrationData | None,
    numerics: Numerics,
    method: Method = "minmax",
    evidence: Evidence | None = None,
    leave_float: Collection[str] = (),
) -> SchemeResult:
    """Write Q/DQ pairs whose ranges are those that calibration data bring about, cut as `method` says.

    Logits stay float. Skipped without calibration data, and where no operator has an int8 form.

    Args:
        leave_float: names of the nodes of the float file that are not quantized.

    Raises:
        BadInput: the graph cannot be quantized.
    """
    if skipped := already_integer(model):
        return SchemeResult(scheme="int8_static", skipped=skipped)
    if calibration is None:
        return SchemeResult(scheme="int8_static", skipped="there are no calibration data")
    prepared = prepare(model)
    with refusing(model):
        ranges = find_ranges(prepared.graph, calibration, method)
        graph = with_pairs(prepared.graph, ranges, numerics, leave_float=leave_float)
    graph = finish(graph, prepared)
    if not any(node.op_type == "QuantizeLinear" for node in graph.graph.node):
        skipped = "no operator of the graph has an int8 form"
        return SchemeResult(scheme="int8_static", skipped=skipped, notes=prepared.notes)
    return write_scheme("int8_static", graph, out, prepared.notes)
