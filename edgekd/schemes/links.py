"""Tensors whose channels can be scaled without changing what a graph computes.

Where one layer makes a tensor and only layers with constant weights read it, through nothing but operators that carry a
positive factor along, channel c may be divided by s_c at its maker and multiplied by s_c again in its readers' weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from edgekd.latency.operators import attribute

CARRIED_ALONG = {"Identity", "LeakyRelu", "PRelu", "Relu"}
POOLS = {"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"}
MAKERS = {"BatchNormalization", "Conv", "Gemm", "LayerNormalization", "MatMul"}


@dataclass(frozen=True)
class Factor:
    """A constant that makes the channels, a slice along `axis` for each; `matrix` says that it is a layer's weight."""

    name: str
    axis: int
    matrix: bool = False


@dataclass(frozen=True)
class Reader:
    """A weight that reads the channels: (outputs, inputs / groups, ...), or (inputs, outputs) where it is `flipped`."""

    name: str
    groups: int = 1
    flipped: bool = False


@dataclass(frozen=True)
class Link:
    """A tensor, the constants that make its channels, and the weights that read them.

    `read_at` are the tensors that the readers are given, each with the axis of its channels; flattened ones have
    several values for each channel, beside each other.
    """

    tensor: str
    channels: int
    made_by: tuple[Factor, ...]
    readers: tuple[Reader, ...]
    read_at: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class _Wiring:
    """What the search looks up again and again; dimensions that are not known are 0."""

    constants: dict[str, onnx.TensorProto]
    outputs: frozenset[str]
    shapes: dict[str, tuple[int, ...]]
    readers: dict[str, list[onnx.NodeProto]]

    def dims(self, name: str) -> tuple[int, ...] | None:
        """Shape of a constant that one node alone reads, or None."""
        alone = name in self.constants and len(self.readers[name]) == 1
        return tuple(self.constants[name].dims) if alone else None

    def value(self, name: str) -> npt.NDArray[Any] | None:
        return numpy_helper.to_array(self.constants[name]) if name in self.constants else None


def _wired(model: onnx.ModelProto) -> _Wiring:
    graph = model.graph
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in read_by(node):
            readers.setdefault(name, []).append(node)
    return _Wiring(
        constants={one.name: one for one in graph.initializer},
        outputs=frozenset(one.name for one in graph.output),
        shapes={
            one.name: tuple(dim.dim_value for dim in one.type.tensor_type.shape.dim)
            for one in (*graph.input, *graph.value_info, *graph.output)
        },
        readers=readers,
    )


def find_links(model: onnx.ModelProto) -> tuple[Link, ...]:
    """Return every tensor whose channels can be scaled, in the order of the graph; shapes have been inferred.

    Weights that several nodes share are left alone; give each layer a bias of its own first (`part_vectors`).
    """
    wiring = _wired(model)
    found = []
    for node in model.graph.node:
        made = _made_by(node, wiring)
        link = _followed(*made, wiring) if made else None
        if link is not None:
            found.append(link)
    return tuple(found)


def part_vectors(model: onnx.ModelProto) -> None:
    """Give every layer its own copy of a bias that it shares with others: exporters join those that are equal."""
    constants = {one.name: one for one in model.graph.initializer}
    met: set[str] = set()
    for node in model.graph.node:
        if node.op_type not in {*MAKERS, "Add"}:
            continue
        for at, name in enumerate(node.input):
            if name in constants and len(constants[name].dims) == 1 and name in met:
                copy = onnx.TensorProto()
                copy.CopyFrom(constants[name])
                copy.name = f"{name}_of_{node.output[0]}"
                model.graph.initializer.append(copy)
                node.input[at] = copy.name
            met.add(name)


def read_by(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node reads, within the graphs it holds too."""
    yield from node.input
    for held in node.attribute:
        for inner in (held.g, *held.graphs):
            yield from (made.name for made in inner.output)
            for one in inner.node:
                yield from read_by(one)


def _made_by(node: onnx.NodeProto, wiring: _Wiring) -> tuple[str, int, tuple[Factor, ...]] | None:
    """The tensor that a layer makes, the axis of its channels, and the constants that make them."""
    if node.op_type not in MAKERS or len(node.input) < 2:
        return None
    weight = wiring.dims(node.input[1])
    if weight is None or any(node.output[1:]):
        return None
    kind, tensor = node.op_type, node.output[0]
    vectors = [name for name in node.input[2:] if name]
    if kind in ("BatchNormalization", "LayerNormalization"):
        axis = 1 if kind == "BatchNormalization" else -1
        factors = [Factor(node.input[1], 0)]
        vectors = vectors[:1]
        channels = weight[0] if len(weight) == 1 else 0
    elif kind == "Conv":
        axis, factors, channels = 1, [Factor(node.input[1], 0, matrix=True)], weight[0]
    else:
        across = 0 if kind == "Gemm" and attribute(node, "transB", 0) else 1
        axis, channels = -1, weight[across] if len(weight) == 2 else 0
        factors = [Factor(node.input[1], across, matrix=True)]
        tensor, vectors = _with_bias(node, wiring) if kind == "MatMul" else (tensor, vectors)
    if channels == 0 or any(_width(name, wiring) != channels for name in vectors):
        return None
    return tensor, axis, (*factors, *(Factor(name, -1) for name in vectors))


def _with_bias(node: onnx.NodeProto, wiring: _Wiring) -> tuple[str, list[str]]:
    """The sum of a matrix product and a constant vector where that alone reads it, else the product itself."""
    readers = wiring.readers.get(node.output[0], [])
    if len(readers) == 1 and readers[0].op_type == "Add" and node.output[0] not in wiring.outputs:
        other = [name for name in readers[0].input if name != node.output[0]]
        if len(other) == 1 and _width(other[0], wiring) > 1:
            return readers[0].output[0], other
    return node.output[0], []


def _width(name: str, wiring: _Wiring) -> int:
    """Length of a constant of which only the last dimension is not 1; 0 of all else."""
    dims = wiring.dims(name)
    return dims[-1] if dims and int(np.prod(dims)) == dims[-1] else 0


def _followed(tensor: str, axis: int, made_by: tuple[Factor, ...], wiring: _Wiring) -> Link | None:
    """Follow the channels to the weights that read them all; None where anything else reads them."""
    first = wiring.dims(made_by[0].name)
    assert first is not None
    channels = first[made_by[0].axis]
    readers: list[Reader] = []
    read_at: list[tuple[str, int]] = []
    waiting = [(tensor, axis)]
    while waiting:
        name, axis = waiting.pop()
        if name in wiring.outputs or name not in wiring.readers:
            return None
        for node in wiring.readers[name]:
            reader = _reader(node, name, axis, channels, wiring)
            further = None if reader else _carried(node, name, axis, wiring)
            if reader is not None:
                readers.append(reader)
                read_at.append((name, axis))
            elif further is not None:
                waiting.append((node.output[0], further))
            else:
                return None
    return Link(tensor, channels, made_by, tuple(readers), tuple(read_at))


def _reader(node: onnx.NodeProto, name: str, axis: int, channels: int, wiring: _Wiring) -> Reader | None:
    """The weight by which a node reads the channels of tensor `name`, where that is all it does with them."""
    if node.op_type not in ("Conv", "Gemm", "MatMul") or list(node.input).count(name) != 1 or node.input[0] != name:
        return None
    weight = wiring.dims(node.input[1])
    if weight is None:
        return None
    if node.op_type == "Conv":
        groups = attribute(node, "group", 1)
        return Reader(node.input[1], groups) if axis == 1 and weight[1] * groups == channels else None
    if not _is_last(name, axis, wiring) or len(weight) != 2 or attribute(node, "transA", 0):
        return None
    flipped = not attribute(node, "transB", 0)
    return Reader(node.input[1], flipped=flipped) if weight[0 if flipped else 1] % channels == 0 else None


def _is_last(name: str, axis: int, wiring: _Wiring) -> bool:
    return axis == -1 or len(wiring.shapes.get(name, ())) == 2


def _carried(node: onnx.NodeProto, name: str, axis: int, wiring: _Wiring) -> int | None:
    """The axis of the channels behind an operator that carries factors along, or None behind any other."""
    kind = node.op_type
    if kind in CARRIED_ALONG and node.input[0] == name:
        return axis
    if kind == "Clip":
        low, high = (wiring.value(one) for one in (*node.input[1:], "", "")[:2])
        unbounded = len(node.input) < 3 or not node.input[2] or (high is not None and bool(np.isposinf(high).all()))
        return axis if unbounded and low is not None and bool((low == 0).all()) else None
    if kind in POOLS:
        return 1 if axis == 1 and not any(node.output[1:]) else None
    given, made = wiring.shapes.get(name, ()), wiring.shapes.get(node.output[0], ())
    if kind == "Reshape" and given and made and _is_last(name, axis, wiring) and given[-1] == made[-1] > 0:
        return -1
    if axis != 1 or len(given) <= 2 or len(made) != 2:
        return None
    if kind in ("Flatten", "Reshape"):
        return 1 if made[1] == int(np.prod(given[1:])) > 0 else None
    if kind == "ReduceMean":
        return 1 if {one % len(given) for one in _axes(node, wiring)} == {*range(2, len(given))} else None
    return None


def _axes(node: onnx.NodeProto, wiring: _Wiring) -> list[int]:
    """Axes that a reduction takes; since opset 18 they are an input."""
    given = next((list(one.ints) for one in node.attribute if one.name == "axes"), [])
    value = wiring.value(node.input[1]) if len(node.input) > 1 else None
    return given if value is None else [int(one) for one in value.reshape(-1)]
