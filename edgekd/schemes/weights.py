"""Weights stored in fewer bytes than they are computed with: which tensors those are, and how a graph gets them back.

The exporter's graph is taken as it is, without folding constants: a table that is an embedding and, transposed, a head
would become two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from edgekd.onnx_graph import canonical, opset_of
from edgekd.schemes.quantizer import MIN_OPSET, Prepared, already_integer, input_shape, named, refusing

PRODUCTS = frozenset({("Gather", 0), ("Gemm", 1), ("MatMul", 1), ("Transpose", 0)})
"""Operators, and at which place they read a matrix: products, embeddings, and what turns a matrix for a product."""
CONVOLUTIONS = frozenset({("Conv", 1), ("ConvTranspose", 1)})
Weights = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Stored:
    """How a tensor is stored: `tensors`, and the node that makes of them a float32 tensor of the old name."""

    tensors: Sequence[onnx.TensorProto]
    node: onnx.NodeProto


def read_float(model: Path) -> Prepared | str:
    """Read a float ONNX file as it is, but for a name for each node, or say why its weights cannot be stored in less.

    Raises BadInput where it is no model of one float32 or int64 input.
    """
    if skipped := already_integer(model):
        return skipped
    with refusing(model):
        source = onnx.load(model)
        input_shape(source, model.name)
        if opset_of(source) < MIN_OPSET:
            return f"it needs opset {MIN_OPSET}, the graph has {opset_of(source)}"
        return Prepared(model, named(canonical(source, max_ir=source.ir_version)), source.ir_version, ())


def weights_read_by(model: onnx.ModelProto, readers: frozenset[tuple[str, int]]) -> Weights:
    """Return the float32 matrices and kernels that `readers` read, and nothing else reads, by name."""
    seen: dict[str, set[tuple[str, int]]] = {}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            seen.setdefault(name, set()).add((node.op_type, place))
    fed = {one.name for one in (*model.graph.input, *model.graph.output)}
    return {
        one.name: numpy_helper.to_array(one)
        for one in model.graph.initializer
        if one.data_type == onnx.TensorProto.FLOAT
        and len(one.dims) >= 2
        and one.name not in fed
        and seen.get(one.name, set()) <= readers
    }


def parameters(model: onnx.ModelProto) -> int:
    """Elements of all float32 tensors that are stored."""
    return sum(int(np.prod(one.dims)) for one in model.graph.initializer if one.data_type == onnx.TensorProto.FLOAT)


def matrix_share(model: onnx.ModelProto) -> float:
    """Share of the parameters that matrices and embeddings hold."""
    matrices = [value for value in weights_read_by(model, PRODUCTS).values() if value.ndim == 2]
    return sum(value.size for value in matrices) / max(1, parameters(model))


def with_stored(model: onnx.ModelProto, stored: Mapping[str, Stored]) -> onnx.ModelProto:
    """Return a copy in which every tensor of `stored` is stored so; each stays one tensor however often it is read."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    kept = [one for one in graph.initializer if one.name not in stored]
    nodes = [*(one.node for one in stored.values()), *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend([*kept, *(tensor for one in stored.values() for tensor in one.tensors)])
    graph.node.extend(nodes)
    return changed
