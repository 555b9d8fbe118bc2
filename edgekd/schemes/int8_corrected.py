"""int8 weights and activations after equalisation and bias correction, whichever of the two help."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from edgekd.device import Numerics
from edgekd.onnx_graph import run_graph
from edgekd.parity import worst_sqnr_db
from edgekd.schemes.bias_correction import corrected
from edgekd.schemes.calibration import CalibrationData, Method
from edgekd.schemes.equalise import equalised
from edgekd.schemes.qdq import with_pairs
from edgekd.schemes.quantizer import Prepared, already_integer, finish, prepare, refusing, write_scheme
from edgekd.schemes.ranges import find_ranges, whole_batches
from edgekd.schemes.scheme import Evidence, SchemeResult

COMPARED = 64
"""Calibration inputs on which the ways are compared; where there are twice as many, biases come from the others."""
AS_STATIC = "neither"


def int8_corrected(
    model: Path,
    out: Path,
    *,
    calibration: CalibrationData | None,
    numerics: Numerics,
    method: Method = "minmax",
    evidence: Evidence | None = None,
    leave_float: Collection[str] = (),
) -> SchemeResult:
    """Write the one of these that comes nearest to the float outputs: equalised, with corrected biases, or both.

    Skipped where neither comes nearer than `int8_static` does, without calibration data, and where no operator has an
    int8 form.

    Args:
        leave_float: names of the nodes of the float file that are not quantized.

    Raises:
        BadInput: the graph cannot be quantized.
    """
    if skipped := already_integer(model):
        return SchemeResult(scheme="int8_corrected", skipped=skipped)
    if calibration is None:
        return SchemeResult(scheme="int8_corrected", skipped="there are no calibration data")
    prepared = prepare(model)
    with refusing(model):
        ways = _ways(prepared, calibration, numerics, method, leave_float)
    ways = {name: finish(graph, prepared) for name, graph in ways.items()}
    if not any(node.op_type == "QuantizeLinear" for node in ways[AS_STATIC].graph.node):
        skipped = "no operator of the graph has an int8 form"
        return SchemeResult(scheme="int8_corrected", skipped=skipped, notes=prepared.notes)
    with refusing(model):
        signals = _signals(prepared.graph, ways, calibration)
    best = max(signals, key=lambda name: signals[name])
    found = ", ".join(f"{name} {signal:.1f} dB" for name, signal in signals.items())
    if best == AS_STATIC:
        skipped = f"neither equalisation nor bias correction helps here (on calibration inputs: {found})"
        return SchemeResult(scheme="int8_corrected", skipped=skipped, notes=prepared.notes)
    return write_scheme("int8_corrected", ways[best], out, (*prepared.notes, f"{best}; on calibration inputs: {found}"))


def _ways(
    prepared: Prepared, calibration: CalibrationData, numerics: Numerics, method: Method, leave_float: Collection[str]
) -> dict[str, onnx.ModelProto]:
    """Every way to quantize the graph that differs from the others, the simplest first."""
    float_graphs = {AS_STATIC: prepared.graph}
    scaled = equalised(prepared.graph, calibration, numerics)
    if scaled.tensors:
        float_graphs["equalisation"] = scaled.graph
    ways = {}
    for name, graph in float_graphs.items():
        ways[name] = with_pairs(graph, find_ranges(graph, calibration, method), numerics, leave_float=leave_float)
        both = "bias correction" if name == AS_STATIC else f"{name} and bias correction"
        ways[both] = corrected(graph, ways[name], _others(graph, calibration))
    return ways


def _others(graph: onnx.ModelProto, calibration: CalibrationData) -> CalibrationData:
    """Inputs that the ways are not compared on, where there are enough."""
    compared = whole_batches(graph, calibration, COMPARED)
    if len(calibration) < 2 * compared:
        return calibration
    rows = np.arange(len(calibration)) if calibration.chosen is None else calibration.chosen
    return replace(calibration, chosen=rows[compared:])


def _signals(
    graph: onnx.ModelProto, ways: dict[str, onnx.ModelProto], calibration: CalibrationData
) -> dict[str, float]:
    """Signal to quantization noise of each way, in decibels, of the worst output."""
    inputs = calibration.part(0, whole_batches(graph, calibration, COMPARED))
    exact = run_graph(graph, inputs)
    return {name: worst_sqnr_db(exact, run_graph(way, inputs)) for name, way in ways.items()}
