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


def padded_convolution() -> ModelProto:
    """A 3x3 convolution of stride 2 from (batch, 8, 9, 9), padded by one to the right and below as PyTorch's exporter
    writes it: pairs from the last axis on, filled up with zeros, paired, reversed, and turned into begins and ends."""
    nodes = [
        helper.make_node("ConstantOfShape", ["four"], ["zeros"], value=numpy_helper.from_array(np.zeros(1, np.int64))),
        helper.make_node("Concat", ["last", "zeros"], ["all"], axis=0),
        helper.make_node("Reshape", ["all", "pairs"], ["paired"]),
        helper.make_node("Slice", ["paired", "minus", "lowest", "zero", "minus"], ["reversed"]),
        helper.make_node("Transpose", ["reversed"], ["turned"], perm=[1, 0]),
        helper.make_node("Reshape", ["turned", "minus"], ["flat"]),
        helper.make_node("Cast", ["flat"], ["pads"], to=TensorProto.INT64),
        helper.make_node("Pad", ["x", "pads", ""], ["p"], mode="constant"),
        helper.make_node("Conv", ["p", "w"], ["y"], name="conv", strides=[2, 2]),
    ]
    weights = {
        "four": np.array([4], np.int64),
        "last": np.array([0, 1, 0, 1], np.int64),
        "pairs": np.array([-1, 2], np.int64),
        "minus": np.array([-1], np.int64),
        "lowest": np.array([-(2**63) + 1], np.int64),
        "zero": np.array([0], np.int64),
        "w": np.zeros((16, 8, 3, 3), np.float32),
    }
    return model(nodes, inputs={"x": ["batch", 8, 9, 9]}, outputs=["y"], weights=weights)
