"""Models of one operator each, in the shapes that mobile networks and encoders have: what operator_costs.py times."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

POINTWISE = [
    *((16, 16, 80), (16, 64, 80), (24, 72, 40), (72, 24, 40), (32, 32, 40), (96, 24, 28), (40, 240, 20), (240, 40, 20)),
    *((64, 64, 20), (128, 128, 20), (112, 672, 10), (480, 112, 10), (256, 256, 10), (160, 960, 5), (960, 320, 5)),
    *((72, 24, 1), (24, 72, 1), (240, 64, 1), (960, 240, 1), (320, 1280, 7), (64, 32, 56), (144, 36, 14)),
]
"""Convolutions of 1 x 1: channels in, channels out, side."""
SPATIAL = [
    *((3, 16, 112, 3, 2), (3, 32, 80, 3, 2), (16, 16, 80, 3, 1), (32, 32, 40, 3, 1), (64, 64, 20, 3, 1)),
    *((128, 128, 10, 3, 1), (256, 256, 5, 3, 1), (512, 512, 4, 3, 1), (64, 128, 20, 3, 2), (32, 64, 40, 3, 2)),
    *((24, 24, 28, 3, 1), (96, 96, 14, 3, 1), (3, 64, 112, 7, 2), (3, 40, 96, 4, 4), (3, 96, 96, 16, 16)),
    *((16, 32, 40, 5, 2), (40, 80, 20, 2, 2), (64, 64, 14, 5, 1), (128, 256, 10, 2, 2), (3, 16, 80, 5, 2)),
]
"""Dense convolutions: channels in, out, side, kernel, stride."""
DEPTHWISE = [
    *((32, 80, 3, 1), (64, 56, 3, 1), (96, 40, 3, 1), (144, 28, 3, 1), (240, 20, 3, 1), (480, 10, 3, 1)),
    *((960, 5, 3, 1), (64, 25, 3, 1), (64, 80, 3, 2), (96, 56, 3, 2), (144, 40, 3, 2), (576, 10, 3, 2)),
    *((72, 40, 5, 2), (120, 20, 5, 1), (240, 20, 5, 1), (672, 10, 5, 2), (960, 5, 5, 1), (40, 40, 7, 1)),
    *((80, 20, 7, 1), (160, 10, 7, 1), (320, 5, 7, 1)),
]
"""Depthwise convolutions: channels, side, kernel, stride."""
GROUPED = [
    *((64, 28, 4), (128, 20, 8), (128, 14, 32), (256, 10, 32), (32, 56, 4), (256, 14, 8), (512, 7, 32), (64, 56, 2)),
]
"""Grouped 3 x 3 convolutions: channels, side, groups."""
PRODUCTS = [
    *((1, 512, 100), (1, 1280, 1000), (1, 128, 12), (1, 960, 1280), (16, 128, 512), (64, 256, 256), (64, 256, 1024)),
    *((64, 1024, 256), (100, 192, 576), (100, 192, 768), (100, 768, 192), (128, 384, 384), (400, 80, 320)),
    *((400, 320, 80), (25, 640, 160), (1600, 40, 160), (32, 512, 2048)),
]
"""Products by stored weights: rows, inner, columns."""
ATTENTION = [
    (4, 64, 64, 64),
    (4, 64, 64, 128),
    (3, 100, 64, 100),
    (3, 100, 100, 64),
    (8, 128, 32, 128),
    (6, 196, 64, 196),
]
"""Products of two activations: heads, rows, inner, columns."""
RECURRENT = [(16, 40, 64), (64, 40, 128), (32, 128, 128), (64, 128, 256), (100, 13, 32)]
"""LSTM: steps, features, hidden."""
MAPS = [
    (1, 16, 80, 80),
    (1, 24, 40, 40),
    (1, 96, 28, 28),
    (1, 240, 20, 20),
    (1, 672, 10, 10),
    (1, 960, 5, 5),
    (1, 64, 7, 7),
]
ROWS = [(1, 64, 256), (1, 100, 192), (1, 100, 768), (1, 400, 320), (1, 25, 640), (1, 64, 1024), (1, 8, 64)]
GATED = [(72, 40), (240, 20), (672, 10), (960, 5), (16, 80), (96, 10)]
"""Channels, side of maps that are multiplied by one number a channel."""


def cases() -> Iterator[onnx.ModelProto]:
    """Yield every model of one operator, float, of one input "input"."""
    for inside, outside, side in POINTWISE:
        yield convolution(inside, outside, side, 1, 1)
    for inside, outside, side, kernel, stride in SPATIAL:
        yield convolution(inside, outside, side, kernel, stride)
    for channels, side, kernel, stride in DEPTHWISE:
        yield convolution(channels, channels, side, kernel, stride, groups=channels)
    for channels, side, groups in GROUPED:
        yield convolution(channels, channels, side, 3, 1, groups=groups)
    for rows, inner, columns in PRODUCTS:
        yield product(rows, inner, columns)
    for heads, rows, inner, _ in ATTENTION:
        turned = _node("Transpose", ["input"], "turned", perm=[0, 1, 3, 2])
        yield _model([turned, _node("MatMul", ["input", "turned"], "output")], (1, heads, rows, inner))
        yield _quantized_around("MatMul", (1, heads, rows, inner), turned=True)
    for steps, features, hidden in RECURRENT:
        yield lstm(steps, features, hidden)
    yield from _elementwise()
    yield from _moving()


def convolution(inside: int, outside: int, side: int, kernel: int, stride: int, *, groups: int = 1) -> onnx.ModelProto:
    """A convolution with bias and ReLU, padded to keep the side at stride 1 unless its kernel is its stride."""
    weight, bias = _stored("weight", (outside, inside // groups, kernel, kernel)), _stored("bias", (outside,))
    pad = 0 if kernel == stride else kernel // 2
    node = helper.make_node(
        "Conv", ["input", "weight", "bias"], ["sum"], group=groups, strides=[stride] * 2, pads=[pad] * 4
    )
    relu = helper.make_node("Relu", ["sum"], ["output"])
    return _model([node, relu], (1, inside, side, side), [weight, bias])


def product(rows: int, inner: int, columns: int) -> onnx.ModelProto:
    """A linear layer."""
    stored = [_stored("weight", (inner, columns)), _stored("bias", (columns,))]
    nodes = [
        helper.make_node("MatMul", ["input", "weight"], ["sum"]),
        helper.make_node("Add", ["sum", "bias"], ["output"]),
    ]
    return _model(nodes, (1, rows, inner), stored)


def lstm(steps: int, features: int, hidden: int) -> onnx.ModelProto:
    """One LSTM layer in one direction."""
    stored = [
        _stored("w", (1, 4 * hidden, features)),
        _stored("r", (1, 4 * hidden, hidden)),
        _stored("b", (1, 8 * hidden)),
    ]
    node = helper.make_node("LSTM", ["input", "w", "r", "b"], ["output"], hidden_size=hidden)
    return _model([node], (steps, 1, features), stored)


def _elementwise() -> Iterator[onnx.ModelProto]:
    for shape in (*MAPS, *ROWS):
        for operator in ("Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Relu", "Gelu", "LeakyRelu"):
            yield _chain([(operator, {})], shape)
        yield _model([_node("Add", ["input", "input"], "output")], shape)
        yield _model([_node("Sigmoid", ["input"], "gate"), _node("Mul", ["input", "gate"], "output")], shape)
        yield _model([_node("HardSigmoid", ["input"], "gate"), _node("Mul", ["input", "gate"], "output")], shape)
        yield _model([_node("Div", ["input", "by"], "output")], shape, [_stored("by", ())])
    for channels, side in GATED:
        gate = [_node("ReduceMean", ["input", "axes"], "mean", keepdims=1), _node("Mul", ["input", "mean"], "output")]
        axes = numpy_helper.from_array(np.array([2, 3]), "axes")
        yield _model(gate, (1, channels, side, side), [axes])
        inner = numpy_helper.from_array(np.array([1, 2]), "axes")
        yield _model([_node("ReduceMean", ["input", "axes"], "output")], (1, side, side, channels), [inner])
    for shape in ROWS:
        width = shape[-1]
        stored = [_stored("scale", (width,)), _stored("bias", (width,))]
        norm = _node("LayerNormalization", ["input", "scale", "bias"], "output", axis=-1)
        yield _model([norm], shape, stored)
        skip = _node("LayerNormalization", ["sum", "scale", "bias"], "output", axis=-1)
        yield _model(
            [_node("Sigmoid", ["input"], "other"), _node("Add", ["input", "other"], "sum"), skip], shape, stored
        )
    for heads, rows, _, columns in ATTENTION:
        yield _chain([("Softmax", {"axis": -1})], (1, heads, rows, columns))
        yield _quantized_around("Softmax", (1, heads, rows, columns))


def _moving() -> Iterator[onnx.ModelProto]:
    for shape in MAPS:
        yield _chain([("Transpose", {"perm": [0, 2, 3, 1]})], shape)
        yield _chain([("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4})], shape)
        yield _chain([("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]})], shape)
        yield _chain([("GlobalAveragePool", {})], shape)
        yield _model([_node("Relu", ["input"], "one"), _node("Concat", ["input", "one"], "output", axis=1)], shape)
        sizes = [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "sizes")]
        yield _model([_node("Resize", ["input", "", "sizes"], "output", mode="nearest")], shape, sizes)
        starts = [numpy_helper.from_array(np.array(v), n) for n, v in (("s", [0]), ("e", [shape[1] // 2]), ("a", [1]))]
        yield _model([_node("Slice", ["input", "s", "e", "a"], "output")], shape, starts)
    for batch, rows, width in ROWS:
        yield _chain([("Transpose", {"perm": [0, 2, 1, 3]})], (batch, rows, 8, width // 8))
        yield _chain([("Transpose", {"perm": [0, 2, 1]})], (batch, rows, width))
        table = _stored("table", (2000, width))
        yield _model([_node("Gather", ["table", "input"], "output")], (batch, rows), [table], TensorProto.INT64)


def _quantized_around(operator: str, shape: tuple[int, ...], *, turned: bool = False) -> onnx.ModelProto:
    """An operator between two that are quantized, so that it is too; of a tensor and itself, turned, if so."""
    nodes = [_node("Mul", ["input", "by"], "before")]
    if turned:
        nodes.append(_node("Transpose", ["before"], "turned", perm=[0, 1, 3, 2]))
    nodes.append(_node(operator, ["before", "turned"] if turned else ["before"], "after"))
    nodes.append(_node("Mul", ["after", "by"], "output"))
    return _model(nodes, shape, [_stored("by", (1,))])


def _chain(operators: Sequence[tuple[str, dict[str, Any]]], shape: tuple[int, ...]) -> onnx.ModelProto:
    names = ["input", *(f"t{at}" for at in range(1, len(operators))), "output"]
    return _model([_node(o, [names[i]], names[i + 1], **a) for i, (o, a) in enumerate(operators)], shape)


def _node(operator: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, [output], **attributes)


def _stored(name: str, shape: tuple[int, ...]) -> onnx.TensorProto:
    values = np.random.default_rng(len(name)).standard_normal(shape, np.float32) / 8
    return numpy_helper.from_array(np.asarray(values, np.float32), name)


def _model(
    nodes: list[onnx.NodeProto],
    shape: tuple[int, ...],
    stored: Sequence[onnx.TensorProto] = (),
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    for node in nodes:
        node.name = f"{node.op_type}_{node.output[0]}"
    given = helper.make_tensor_value_info("input", kind, shape)
    made = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "one", [given], [made], list(stored))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
