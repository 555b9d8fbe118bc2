"""The twin that stands in for a file whose kernels this machine does not have."""

import numpy as np
import onnx
from onnx import numpy_helper

from edgekd.onnx_graph import canonical
from edgekd.this_machine import is_x86


def needs_twin(graph: onnx.ModelProto, machine: str | None = None) -> bool:
    """Whether a graph has int8 activations, which x86 has integer kernels for in part only.

    Their time there says nothing about Arm. `machine` is as `platform.machine()` names it, by default this one.
    """
    return is_x86(machine) and bool(_signed_zero_points(graph))


def unsigned(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which int8 activations are uint8: every zero point 128 higher, so that it computes the same."""
    twin = onnx.ModelProto()
    twin.CopyFrom(graph)
    signed = _signed_zero_points(graph)
    constants = {one.name for one in graph.graph.initializer}
    quantizing = [n for n in graph.graph.node if n.op_type == "QuantizeLinear" and n.input[0] not in constants]
    made_by_quantizing = {node.output[0] for node in quantizing}
    for node in twin.graph.node:
        of_activation = node.op_type == "QuantizeLinear" or (node.input[:1] and node.input[0] in made_by_quantizing)
        if of_activation and node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.input[2] in signed:
            node.input[2] += _SUFFIX  # the zero point itself may be a weight's as well
    for one in graph.graph.initializer:
        if one.name in signed:
            shifted = (numpy_helper.to_array(one).astype(np.int16) + 128).astype(np.uint8)
            twin.graph.initializer.append(numpy_helper.from_array(shifted, one.name + _SUFFIX))
    return canonical(twin, max_ir=twin.ir_version)


_SUFFIX = "_unsigned"


def _signed_zero_points(graph: onnx.ModelProto) -> set[str]:
    """Names of the int8 zero points that activations are quantized with; those of weights stay."""
    kinds = {one.name: one.data_type for one in graph.graph.initializer}
    # Some quantizers leave weights as floats behind a QuantizeLinear.
    quantizing = [node for node in graph.graph.node if node.op_type == "QuantizeLinear" and node.input[0] not in kinds]
    names = {node.input[2] for node in quantizing if len(node.input) > 2}
    return {name for name in names if kinds.get(name) == onnx.TensorProto.INT8}
