"""Graphs of many nodes that do not depend on each other, and the sums of products among these nodes."""

import math
import random
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CHANNELS = (3, 8, 12, 16, 20, 24, 32, 36, 40, 48, 56, 64, 72, 80, 96, 112, 116, 120, 128, 144, 160, 184, 192, 200, 232)
CHANNELS += (240, 256, 288, 320, 336, 384, 464, 480, 512, 576, 640, 672, 768, 960, 1024, 1152, 1280)
SIDES = (
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    12,
    13,
    14,
    15,
    16,
    19,
    20,
    24,
    25,
    26,
    28,
    32,
    35,
    38,
    40,
    48,
    52,
    56,
    64,
    80,
    112,
    128,
)
LARGEST = 12_000_000
"""Multiply-accumulates of one kernel at most: what is larger repeats the same loops."""


class Graph:
    """Nodes that do not depend on each other, with their inputs, weights and outputs."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: dict[str, tuple[int, ...]] = {}
        self.integers: set[str] = set()
        self.weights: list[onnx.TensorProto] = []
        self.outputs: list[str] = []
        self.work = 0

    def input(self, shape: tuple[int, ...]) -> str:
        """Return the name of a new float input."""
        name = f"input{len(self.inputs)}"
        self.inputs[name] = shape
        return name

    def stored(self, values: Any) -> str:
        """Return the name of a new stored tensor, of random floats if `values` is a shape."""
        name = f"weight{len(self.weights)}"
        if isinstance(values, tuple):
            values = np.random.default_rng(len(self.weights)).standard_normal(values, np.float32) / 8
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, operator: str, inputs: list[str], *, outputs: int = 1, **attributes: Any) -> str:
        """Return the output of a new node."""
        name = f"{operator}{len(self.nodes)}"
        made = [f"{name}_{at}" for at in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, made, name=name, **attributes))
        return made[0]

    def output(self, name: str) -> None:
        """Make a tensor an output."""
        self.outputs.append(name)

    def model(self) -> onnx.ModelProto:
        """Return the graph as a model."""
        kinds = {name: TensorProto.INT64 if name in self.integers else TensorProto.FLOAT for name in self.inputs}
        inputs = [helper.make_tensor_value_info(name, kinds[name], shape) for name, shape in self.inputs.items()]
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self.outputs]
        graph = helper.make_graph(self.nodes, "kernels", inputs, outputs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def convolution(graph: Graph, kind: str) -> None:
    chance = graph.chance
    inside, outside, side = chance.choice(CHANNELS), chance.choice(CHANNELS), chance.choice(SIDES)
    groups, kernel, stride = 1, 1, 1
    if kind != "pointwise":
        kernel = chance.choice((3, 3, 3, 3, 5, 7, 2, 4, 1))
        stride = chance.choice((1, 1, 2)) if kernel > 1 else 2
    if kind == "depthwise":
        kernel = chance.choice((3, 3, 3, 5, 5, 7, 9))
        inside = groups = outside = inside if inside > 3 else 16
    elif kind == "grouped":
        groups = chance.choice((2, 3, 4, 8, 16, 32))
        inside, outside = (groups * chance.choice((1, 2, 4, 8, 12, 16, 24, 32, 58)) for _ in range(2))
        outside = inside if chance.random() < 0.8 else outside
    elif kind == "first":
        inside, side, outside = (
            chance.choice((1, 3, 3)),
            chance.choice((56, 64, 96, 112, 128)),
            chance.choice((8, 16, 24, 32, 64)),
        )
        kernel, stride = chance.choice(((3, 2), (3, 1), (7, 2), (4, 4), (5, 2), (16, 16)))
    if kernel > 1 and kind != "first" and chance.random() < 0.4:
        stride = 2
    pad = 0 if kernel == stride else kernel // 2
    dilation = 2 if kernel == 3 and stride == 1 and chance.random() < 0.04 else 1
    width = side if chance.random() < 0.8 else chance.choice(SIDES)
    height = side
    if kind == "wide":  # one-dimensional, as a sound is
        height, kernel_shape, pads = 1, [1, kernel], [0, pad, 0, pad]
    else:
        kernel_shape, pads = [kernel] * 2, [pad * dilation] * 4
    sizes = [
        (n + pads[at] * 2 - dilation * (kernel_shape[at] - 1) - 1) // stride + 1 for at, n in enumerate((height, width))
    ]
    if min(sizes) < 1:
        return
    macs = math.prod(sizes) * outside * (inside // groups) * math.prod(kernel_shape)
    if macs > LARGEST:
        return
    weight = graph.stored((outside, inside // groups, *kernel_shape))
    names = [graph.input((1, inside, height, width)), weight]
    if chance.random() < 0.9:
        names.append(graph.stored((outside,)))
    strides = [1 if kind == "wide" else stride, stride]
    made = graph.node("Conv", names, group=groups, strides=strides, pads=pads, dilations=[dilation] * 2)
    graph.output(_activated(graph, made, (1, outside, *sizes)))
    graph.work += macs


def _activated(graph: Graph, name: str, shape: tuple[int, ...]) -> str:
    draw = graph.chance.random()
    if draw < 0.35:
        return graph.node("Relu", [name])
    if draw < 0.5:
        return graph.node("Clip", [name, graph.stored(np.float32(0)), graph.stored(np.float32(6))])
    if draw < 0.6:
        return graph.node("Add", [name, graph.input(shape)])
    return name


def product(graph: Graph) -> None:
    chance = graph.chance
    rows = chance.choice((1, 1, 1, 2, 3, 4, 8, 16, 25, 49, 50, 64, 100, 128, 196, 197))
    inner, columns = chance.choice(CHANNELS[3:]), chance.choice((*CHANNELS, 10, 100, 1000))
    if rows * inner * columns > LARGEST:
        return
    graph.work += rows * inner * columns
    if chance.random() < (0.7 if rows < 5 else 0.4):
        names = [graph.input((rows, inner)), graph.stored((columns, inner)), graph.stored((columns,))]
        graph.output(graph.node("Gemm", names, transB=1))
        return
    made = graph.node("MatMul", [graph.input((1, rows, inner)), graph.stored((inner, columns))])
    graph.output(graph.node("Add", [made, graph.stored((columns,))]) if chance.random() < 0.7 else made)


def attention(graph: Graph) -> None:
    chance = graph.chance
    heads, rows = chance.choice((1, 2, 3, 4, 6, 8, 12)), chance.choice((4, 16, 25, 49, 50, 64, 100, 128, 196, 197))
    inner, columns = chance.choice((16, 24, 32, 64, 20, 48)), chance.choice((rows, 32, 64))
    if heads * rows * inner * columns > LARGEST:
        return
    graph.work += heads * rows * inner * columns
    one = graph.input((1, heads, rows, inner))
    if chance.random() < 0.5:
        other = graph.node("Transpose", [graph.input((1, heads, columns, inner))], perm=[0, 1, 3, 2])
    else:
        other = graph.input((1, heads, inner, columns))
    graph.output(graph.node("MatMul", [one, other]))


def recurrent(graph: Graph) -> None:
    chance = graph.chance
    operator, gates = chance.choice((("LSTM", 4), ("LSTM", 4), ("GRU", 3)))
    steps, inside, hidden = (
        chance.choice((8, 16, 32, 64, 100)),
        chance.choice((13, 32, 40, 64, 128)),
        chance.choice((16, 32, 64, 100, 128, 256)),
    )
    if steps * gates * hidden * (inside + hidden) > LARGEST:
        return
    graph.work += steps * gates * hidden * (inside + hidden)
    stored = [(1, gates * hidden, inside), (1, gates * hidden, hidden), (1, 2 * gates * hidden)]
    names = [graph.input((steps, 1, inside)), *(graph.stored(shape) for shape in stored)]
    graph.output(graph.node(operator, names, hidden_size=hidden))
