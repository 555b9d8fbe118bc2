"""Kernels in shapes that networks for small devices have, drawn at random: what kernels.py counts."""

import math
import random
from collections.abc import Callable, Iterator

import numpy as np
from kernel_graphs import CHANNELS, LARGEST, SIDES, Graph, attention, convolution, product, recurrent


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
    if graph.chance.random() < 0.2:
        graph.output(graph.node("Softmax", [graph.input(_map(graph, 100_000))], axis=1))
        return
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
    operator = graph.chance.choice(("ReduceMean", "GlobalAveragePool", "ReduceSum", "ReduceMax", "ReduceL2"))
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
        orders = ([0, 2, 1, 3], [0, 2, 1, 3], [0, 2, 3, 1], [0, 3, 1, 2], [1, 0, 2, 3], [0, 1, 3, 2], [0, 3, 2, 1])
        order = graph.chance.choice(orders)
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


KINDS: tuple[tuple[float, Callable[[Graph], None]], ...] = (
    (5, lambda graph: convolution(graph, "pointwise")),
    (5, lambda graph: convolution(graph, "dense")),
    (5, lambda graph: convolution(graph, "depthwise")),
    (3, lambda graph: convolution(graph, "grouped")),
    (1.5, lambda graph: convolution(graph, "first")),
    (1, lambda graph: convolution(graph, "wide")),
    (3, product),
    (2, attention),
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
    (0.7, recurrent),
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
