"""Count the instructions of thousands of kernels: what the predictor's costs are fitted to.

    python benchmarks/kernels.py --kernels 4000 --seed 0

Every kernel is one node of an ONNX graph of many that do not depend on each other, in a shape drawn from what networks
for small devices have. Graphs are counted as they are, quantized statically (S8S8, per channel) and dynamically; the
nodes that the quantizer and ONNX Runtime put between are counted with them. One line of kernels.csv.xz is one operator in
one precision and extent, with its counts at every level that was asked for.
"""

import argparse
import csv
import lzma
import math
import random
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from edgekd.emulation.count import Counts, count
from edgekd.latency.graph import NodeCost, summarise
from edgekd.latency.optimised import optimise

LEVELS = {"neon": "cortex-a53", "dotprod": "cortex-a76"}
VERSION = "1.31.1"
TABLE = Path(__file__).parent / "kernels.csv.xz"
KEYS = ("operator", "type", "precision", "macs", "read", "written", "weights", "extent")
COUNTED = ("total", "multiply", "loads", "stores")
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
PER_END = {"total": 1556, "multiply": 0, "loads": 413, "stores": 193}
"""Instructions that the runtime's profiler takes per input and output of a node, to write its shape down: a fit to
seven networks, counted with it and without. Counting takes off what it takes on the average of all nodes."""
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


def _convolution(graph: Graph, kind: str) -> None:
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


def _product(graph: Graph) -> None:
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


def _attention(graph: Graph) -> None:
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


def _map(graph: Graph, most: int = 400_000) -> tuple[int, ...]:
    while True:
        channels, side = graph.chance.choice(CHANNELS), graph.chance.choice(SIDES)
        if channels * side * side <= most:
            graph.work += 30 * channels * side * side
            return (1, channels, side, side)


def _tokens(graph: Graph) -> tuple[int, ...]:
    rows = graph.chance.choice((1, 4, 16, 25, 49, 50, 64, 100, 128, 196, 197))
    columns = graph.chance.choice((*CHANNELS[3:], 1536, 3072)) if rows < 100 else graph.chance.choice(CHANNELS[3:33])
    graph.work += 30 * rows * columns
    return (1, rows, columns)


def _shape(graph: Graph) -> tuple[int, ...]:
    return _map(graph) if graph.chance.random() < 0.6 else _tokens(graph)


def _given(graph: Graph, shape: tuple[int, ...]) -> str:
    """A tensor of a shape, of maps as a convolution leaves it as often as not: integers if the graph is quantized."""
    if len(shape) != 4 or graph.chance.random() < 0.5:
        return graph.input(shape)
    inside = graph.chance.choice(CHANNELS[:12])
    weights = [graph.stored((shape[1], inside, 1, 1)), graph.stored((shape[1],))]
    graph.work += inside * math.prod(shape)
    return graph.node("Conv", [graph.input((1, inside, *shape[2:])), *weights])


def _one_input(graph: Graph) -> None:
    operator, attributes = graph.chance.choice(
        (
            *(("Sigmoid", {}), ("HardSigmoid", {}), ("HardSwish", {}), ("Tanh", {}), ("Relu", {}), ("Gelu", {})),
            *(("LeakyRelu", {}), ("Erf", {}), ("Sqrt", {}), ("Exp", {}), ("Softplus", {}), ("Neg", {}), ("Abs", {})),
            *(
                ("Elu", {}),
                ("Clip", {}),
                ("Pow", {}),
                ("Mish", {}),
                ("Reciprocal", {}),
                ("Log", {}),
                ("Gelu", {"approximate": "tanh"}),
            ),
        )
    )
    names = [graph.input(_shape(graph))]
    if operator == "Clip":
        names += [graph.stored(np.float32(0)), graph.stored(np.float32(6))]
    if operator == "Pow":
        names.append(graph.stored(np.float32(graph.chance.choice((2, 0.5, 3)))))
    graph.output(graph.node(operator, names, **attributes))


def _gated(graph: Graph) -> None:
    """x * sigmoid(x), and x * hard_sigmoid(x), which the runtime does not fuse."""
    name = graph.input(_shape(graph))
    gate = graph.node(graph.chance.choice(("Sigmoid", "Sigmoid", "HardSigmoid")), [name])
    graph.output(graph.node("Mul", [name, gate]))


def _two_inputs(graph: Graph) -> None:
    operator = graph.chance.choice(("Add", "Mul", "Add", "Mul", "Sub", "Div", "Max", "Where"))
    shape = _shape(graph)
    kind = graph.chance.choice(("same", "same", "number", "stored", "channel", "end", "outer"))
    other = {
        "same": shape,
        "number": (),
        "stored": (shape[-1],),
        "channel": (1, shape[1], *(1 for _ in shape[2:])),
        "end": (shape[-1],),
        "outer": (*shape[:-1], 1),
    }[kind]
    second = graph.stored(other) if kind in ("number", "stored") else graph.input(other)
    names = [graph.input(shape), second]
    if graph.chance.random() < 0.2:
        names.reverse()
    if operator == "Where":
        names = [graph.node("Greater", names), *names]
    graph.output(graph.node(operator, names))


def _normalised(graph: Graph) -> None:
    shape = _tokens(graph)
    names = [graph.input(shape), graph.stored((shape[-1],)), graph.stored((shape[-1],))]
    if graph.chance.random() < 0.4:
        names[0] = graph.node("Add", [graph.input(shape), names[0]])
    graph.output(graph.node("LayerNormalization", names, axis=-1))


def _softmax(graph: Graph) -> None:
    heads, rows = (
        graph.chance.choice((1, 2, 3, 4, 6, 8, 12)),
        graph.chance.choice((1, 4, 16, 25, 49, 64, 100, 128, 197)),
    )
    shape = (1, heads, rows, graph.chance.choice((rows, 10, 64, 100, 1000)))
    if math.prod(shape) > 500_000:
        return
    graph.work += 30 * math.prod(shape)
    graph.output(graph.node("Softmax", [graph.input(shape)], axis=-1))


def _reduced(graph: Graph) -> None:
    operator = graph.chance.choice(("ReduceMean", "ReduceMean", "GlobalAveragePool", "ReduceSum", "ReduceMax"))
    shape = _map(graph) if operator == "GlobalAveragePool" or graph.chance.random() < 0.5 else _tokens(graph)
    names = [graph.input(shape)]
    if operator == "GlobalAveragePool":
        graph.output(graph.node(operator, [_given(graph, shape)]))
        return
    axes = [2, 3] if len(shape) == 4 else graph.chance.choice(([1], [2]))
    if len(shape) == 4 and graph.chance.random() < 0.3:
        axes = [1]
    graph.output(graph.node(operator, [*names, graph.stored(np.array(axes))], keepdims=graph.chance.randint(0, 1)))


def _pooled(graph: Graph) -> None:
    kernel, stride, pad = graph.chance.choice(
        ((2, 2, 0), (3, 2, 1), (3, 1, 1), (3, 2, 0), (5, 1, 2), (4, 4, 0), (7, 7, 0))
    )
    shape = _map(graph)
    if min(shape[2:]) < kernel:
        return
    operator = graph.chance.choice(("MaxPool", "MaxPool", "AveragePool"))
    sizes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
    graph.output(graph.node(operator, [_given(graph, shape)], **sizes))


def _turned(graph: Graph) -> None:
    if graph.chance.random() < 0.3:
        shape = _map(graph)
        order = graph.chance.choice(([0, 2, 3, 1], [0, 3, 1, 2]))
    elif graph.chance.random() < 0.3:
        shape, order = _tokens(graph), [0, 2, 1]
    else:
        _, rows, columns = _tokens(graph)
        heads = next(at for at in (8, 6, 4, 3, 2, 1) if columns % at == 0)
        shape = (1, rows, heads, columns // heads)
        order = graph.chance.choice(([0, 2, 1, 3], [0, 2, 1, 3], [0, 2, 3, 1], [0, 3, 1, 2], [1, 0, 2, 3]))
    graph.output(graph.node("Transpose", [graph.input(shape)], perm=order))


def _shuffled(graph: Graph) -> None:
    """The channel shuffle: five dimensions, two of them swapped."""
    _, channels, side, _ = _map(graph)
    if channels % 2 == 0:
        halves = graph.stored(np.array([1, 2, channels // 2, side, side]))
        made = graph.node("Reshape", [_given(graph, (1, channels, side, side)), halves])
        graph.output(graph.node("Transpose", [made], perm=[0, 2, 1, 3, 4]))


def _moved(graph: Graph) -> None:
    shape, draw = _shape(graph), graph.chance.random()
    axis = graph.chance.choice((1, 1, 1, len(shape) - 1))
    name = _given(graph, shape)
    if draw < 0.3:
        others = [_given(graph, shape) for _ in range(graph.chance.choice((1, 1, 2, 3)))]
        graph.output(graph.node("Concat", [name, *others], axis=axis))
    elif draw < 0.5 and shape[axis] % 2 == 0:
        made = graph.node("Split", [name, graph.stored(np.array([shape[axis] // 2] * 2))], outputs=2, axis=axis)
        graph.output(made)
        graph.output(made[:-1] + "1")
    elif draw < 0.7 and shape[axis] > 1:
        bounds = [graph.stored(np.array([at])) for at in (0, shape[axis] // 2, axis)]
        graph.output(graph.node("Slice", [name, *bounds]))
    elif draw < 0.85 and len(shape) == 4 and math.prod(shape) < 100_000:
        sizes = graph.stored(np.array([1, 1, 2, 2], np.float32))
        graph.output(
            graph.node("Resize", [name, "", sizes], mode=graph.chance.choice(("nearest", "nearest", "linear")))
        )
    elif len(shape) == 4:
        graph.output(graph.node("Pad", [name, graph.stored(np.array([0, 0, 1, 1, 0, 0, 1, 1]))]))
    else:
        at = graph.stored(np.array(graph.chance.choice(([0], list(range(shape[1] // 2 + 1))))))
        graph.output(graph.node("Gather", [name, at], axis=1))


def _looked_up(graph: Graph) -> None:
    words, width = graph.chance.choice((16, 32, 64, 128)), graph.chance.choice((64, 128, 192, 256, 384))
    name = graph.input((1, words))
    graph.integers.add(name)
    graph.output(graph.node("Gather", [graph.stored((100, width)), name]))


def _reshaped(graph: Graph) -> None:
    made = graph.node("Neg", [graph.input(_shape(graph))])  # what the graph is given cannot be reshaped in place
    graph.output(graph.node("Flatten", [made]))


def _recurrent(graph: Graph) -> None:
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


KINDS: tuple[tuple[float, Callable[[Graph], None]], ...] = (
    (5, lambda graph: _convolution(graph, "pointwise")),
    (5, lambda graph: _convolution(graph, "dense")),
    (5, lambda graph: _convolution(graph, "depthwise")),
    (3, lambda graph: _convolution(graph, "grouped")),
    (1.5, lambda graph: _convolution(graph, "first")),
    (1, lambda graph: _convolution(graph, "wide")),
    (3, _product),
    (2, _attention),
    (4, _one_input),
    (1.5, _gated),
    (4, _two_inputs),
    (1.5, _normalised),
    (1.5, _softmax),
    (2, _reduced),
    (2.5, _pooled),
    (2.5, _turned),
    (1, _shuffled),
    (4, _moved),
    (0.5, _looked_up),
    (0.5, _reshaped),
    (0.7, _recurrent),
)
"""How often each kind of kernel is drawn, and what adds one to a graph."""


def graphs(number: int, chance: random.Random) -> Iterator[Graph]:
    """Yield graphs that hold about `number` kernels together, each of some forty."""
    shares, makers = [share for share, _ in KINDS], [maker for _, maker in KINDS]
    made = 0
    while made < number:
        graph = Graph(chance)
        while len(graph.inputs) < 56 and graph.work < 16 * LARGEST:
            chance.choices(makers, shares)[0](graph)
        made += len(graph.outputs)
        yield graph


class Samples(CalibrationDataReader):  # type: ignore[misc]
    """One draw of every input, integers being zeros, to calibrate with."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], integers: Collection[str] = ()) -> None:
        draw = np.random.default_rng(0)
        floats = {name: draw.standard_normal(shape, np.float32) for name, shape in shapes.items()}
        self.rows = iter([{**floats, **{name: np.zeros(shapes[name], np.int64) for name in integers}}])

    def get_next(self) -> Any:
        return next(self.rows, None)


def variants(graph: Graph, folder: Path) -> Iterator[Path]:
    """Yield the graph as files: float, quantized statically, and its products quantized dynamically."""
    path = folder / "fp32.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(graph.model()), path)
    yield path
    static = folder / "int8.onnx"
    quantize_static(
        path,
        static,
        Samples(graph.inputs, graph.integers),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
    )
    yield static
    dynamic = folder / "dynamic.onnx"
    kinds = ["MatMul", "Gemm", "LSTM"]
    quantize_dynamic(path, dynamic, weight_type=QuantType.QInt8, op_types_to_quantize=kinds)
    yield dynamic


Row = dict[str, Any]


def rows_of(path: Path, levels: list[str]) -> Iterator[Row]:
    """Yield one row per executed node of a file: what it is, and what it executes at every level."""
    graph = optimise(path, arm=True, layout=True)
    costs = {cost.name: cost for cost in summarise(graph, optimised=True).nodes}
    ends = {node.name: len([name for name in (*node.input, *node.output) if name]) for node in graph.graph.node}
    found = {level: count(path, core=LEVELS[level], version=VERSION, by_node=True) for level in levels}
    nodes = {level: _by_name(counts, ends) for level, counts in found.items()}
    for name, cost in costs.items():
        if all(name in nodes[level] for level in levels):
            yield {
                **described(cost),
                **{f"{level}_{key}": nodes[level][name][key] for level in levels for key in COUNTED},
            }


def described(cost: NodeCost) -> Row:
    """Return what a count depends on, as the columns of a table."""
    extent = " ".join(f"{name}={size}" for name, size in cost.extent.items())
    values = (
        cost.operator,
        cost.type,
        cost.precision,
        cost.macs,
        cost.elements_read,
        cost.elements_written,
        cost.weights,
        extent,
    )
    return dict(zip(KEYS, values, strict=True))


def _by_name(counts: Counts, ends: dict[str, int]) -> dict[str, dict[str, int]]:
    nodes = [node for node in counts.nodes if node.name in ends]
    mean = sum(ends[node.name] for node in nodes) / max(len(nodes), 1)
    found = {}
    for node in nodes:
        taken = node.instructions
        multiplies = taken.multiply_float + taken.multiply_int8
        values = zip(COUNTED, (taken.total, multiplies, taken.loads, taken.stores), strict=True)
        more = ends[node.name] - mean
        found[node.name] = {key: max(round(value - more * PER_END[key]), multiplies) for key, value in values}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--level", choices=LEVELS, action="append", help="default: all")
    parser.add_argument("--out", type=Path, default=TABLE)
    options = parser.parse_args()
    levels = options.level or list(LEVELS)
    seen: set[tuple[Any, ...]] = set()
    with lzma.open(options.out, "wt", newline="") as file, tempfile.TemporaryDirectory() as folder:
        writer = csv.DictWriter(file, [*KEYS, *(f"{level}_{key}" for level in levels for key in COUNTED)])
        writer.writeheader()
        for graph in graphs(options.kernels, random.Random(options.seed)):
            for path in variants(graph, Path(folder)):
                for row in rows_of(path, levels):
                    key = tuple(row[name] for name in KEYS)
                    if key not in seen:
                        seen.add(key)
                        writer.writerow(row)
            print(f"{len(seen)} kernels", flush=True)


if __name__ == "__main__":
    main()
