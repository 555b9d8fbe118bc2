"""Small ONNX graphs with known answers."""

from collections.abc import Iterable

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper


def model(
    nodes: Iterable[NodeProto],
    *,
    inputs: dict[str, list[int | str]],
    outputs: Iterable[str],
    weights: dict[str, np.ndarray] | None = None,
) -> ModelProto:
    """A float model of these nodes; outputs are declared without a shape."""
    return helper.make_model(
        helper.make_graph(
            list(nodes),
            "small",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def convolution(
    *, channels: int = 8, filters: int = 16, kernel: int = 3, groups: int = 1, stride: int = 1, size: int = 10
) -> ModelProto:
    """One padded convolution from (1, channels, size, size), without bias."""
    node = helper.make_node(
        "Conv", ["x", "w"], ["y"], name="conv", group=groups, strides=[stride] * 2, pads=[kernel // 2] * 4
    )
    weight = np.zeros((filters, channels // groups, kernel, kernel), np.float32)
    return model([node], inputs={"x": ["batch", channels, size, size]}, outputs=["y"], weights={"w": weight})


def quantized_convolution(*, quantized_output: bool = True, activation: str | None = "Relu") -> ModelProto:
    """Q/DQ around a 1x1 convolution of 4 to 8 channels on 6 x 6 with an activation, int8 throughout."""
    weights = {
        "w": np.ones((8, 4, 1, 1), np.int8),
        "ws": np.full(8, 0.1, np.float32),
        "wz": np.zeros(8, np.int8),
        "s": np.float32(0.1).reshape(()),
        "z": np.int8(0).reshape(()),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("Conv", ["xd", "wd"], ["c"], name="conv"),
    ]
    last = "c"
    if activation:
        nodes.append(helper.make_node(activation, ["c"], ["a"]))
        last = "a"
    if quantized_output:
        nodes.append(helper.make_node("QuantizeLinear", [last, "s", "z"], ["yq"]))
        nodes.append(helper.make_node("DequantizeLinear", ["yq", "s", "z"], ["y"]))
        last = "y"
    return model(nodes, inputs={"x": [1, 4, 6, 6]}, outputs=[last], weights=weights)
