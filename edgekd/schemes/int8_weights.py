"""Matrices and embeddings stored in int8 and computed with as floats: a quarter of the file, without calibration."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edgekd.device import Numerics
from edgekd.schemes.calibration import CalibrationData, Method
from edgekd.schemes.quantizer import finish, write_scheme
from edgekd.schemes.scheme import Evidence, SchemeResult
from edgekd.schemes.spectrum import before_logarithm
from edgekd.schemes.weights import PRODUCTS, Stored, parameters, read_float, weights_read_by, with_stored

WORTH_WHILE = 0.5
"""Share of the parameters that matrices and embeddings must hold. Convolutions and recurrent layers are left as they
are: ONNX Runtime would turn their weights back into floats at every run."""


_LAST = "edgekd_last_axis"


def int8_weights(
    model: Path,
    out: Path,
    *,
    calibration: CalibrationData | None,
    numerics: Numerics,
    method: Method = "minmax",
    evidence: Evidence | None = None,
) -> SchemeResult:
    """Write each matrix as symmetric int8 with a scale per output, or per row of an embedding, and a DequantizeLinear.

    That is standard ONNX. ONNX Runtime's own operator for it, MatMulNBits, loads nowhere else and leaves embeddings
    float: its file of a BERT of 4 layers was twice as large, at 0.84 of fp32's CPU time. Skipped where other operators
    hold most of the parameters.

    Raises:
        BadInput: the graph cannot be read.
    """
    prepared = read_float(model)
    if isinstance(prepared, str):
        return SchemeResult(scheme="int8_weights", skipped=prepared)
    kept = {name for node in _spectral(prepared.graph) for name in node.input}
    weights = weights_read_by(prepared.graph, PRODUCTS)
    weights = {name: value for name, value in weights.items() if value.ndim == 2 and name not in kept}
    share = sum(value.size for value in weights.values()) / max(1, parameters(prepared.graph))
    if share < WORTH_WHILE:
        skipped = f"matrices and embeddings hold only {100 * share:.0f} % of the parameters"
        return SchemeResult(scheme="int8_weights", skipped=skipped)
    stored = {name: _in_int8(name, value, _axis(name, prepared.graph)) for name, value in weights.items()}
    graph = finish(_rows_widened(with_stored(prepared.graph, stored)), prepared)
    return write_scheme("int8_weights", graph, out, ())


def _spectral(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    names = set(before_logarithm(model))
    return [node for node in model.graph.node if node.name in names]


def _rows_widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """Look embeddings up in int8 and widen the rows found: the runtime would widen the whole table at every run."""
    widened = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        by_rows = all(one.name != "axis" or one.i == 0 for one in node.attribute)
        if node.op_type == "Gather" and node.input[0] in widened and by_rows:
            nodes += _row_lookup(node, widened[node.input[0]])
        else:
            nodes.append(node)
    read = {name for node in nodes for name in node.input} | {one.name for one in model.graph.output}
    nodes = [node for node in nodes if node.op_type != "DequantizeLinear" or node.output[0] in read]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.asarray([-1], np.int64), _LAST))
    return model


def _row_lookup(gather: onnx.NodeProto, widening: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Rows in steps times the rows' scales."""
    (table, scale), rows = widening.input, gather.output[0]
    return [
        helper.make_node("Gather", [table, gather.input[1]], [f"{rows}_int8"], name=gather.name),
        helper.make_node("Cast", [f"{rows}_int8"], [f"{rows}_steps"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Gather", [scale, gather.input[1]], [f"{rows}_scales"]),
        helper.make_node("Unsqueeze", [f"{rows}_scales", _LAST], [f"{rows}_scale"]),
        helper.make_node("Mul", [f"{rows}_steps", f"{rows}_scale"], [rows]),
    ]


def _axis(name: str, model: onnx.ModelProto) -> int:
    """Along which axis of a matrix each slice has a scale: that of the outputs for a product, of the rows otherwise."""
    reader = next(node for node in model.graph.node if name in node.input)
    turned = any(one.name == "transB" and one.i for one in reader.attribute)
    return 1 if reader.op_type == "MatMul" or (reader.op_type == "Gemm" and not turned) else 0


def _in_int8(name: str, value: npt.NDArray[np.float32], axis: int) -> Stored:
    """-127 to 127, so that zero is exact and the steps are the same on both sides."""
    largest = np.abs(value).max(axis=1 - axis, keepdims=True)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    steps = np.clip(np.rint(value / scale), -127, 127).astype(np.int8)
    tensors = [
        numpy_helper.from_array(steps, f"{name}_int8"),
        numpy_helper.from_array(scale.reshape(-1), f"{name}_scale"),
    ]
    names = [one.name for one in tensors]
    return Stored(tensors, helper.make_node("DequantizeLinear", names, [name], axis=axis))
