"""Who makes and who reads each tensor of an ONNX graph, with its shape: what every later count starts from."""

from collections import defaultdict
from dataclasses import dataclass

from onnx import ModelProto, NodeProto, TensorProto, helper, inliner

from edgekd.errors import BadInput
from edgekd.latency.shapes import constant_value, element_count, infer, known_shapes


@dataclass(frozen=True)
class Wiring:
    """A graph's nodes in topological order and its tensors by name.

    `shapes` holds what is wholly known, a batch of one; `itemsize` bytes per element; `constants` the tensors
    whose values are known when the model is loaded; `weights` the stored ones among them, name to element count.
    """

    nodes: tuple[NodeProto, ...]
    shapes: dict[str, tuple[int, ...]]
    itemsize: dict[str, int]
    constants: frozenset[str]
    weights: dict[str, int]
    producer: dict[str, int]
    consumers: dict[str, tuple[int, ...]]
    inputs: frozenset[str]
    outputs: frozenset[str]

    def elements(self, name: str) -> int:
        """Number of elements of a tensor; one where its shape is not known, which `unsized` tells."""
        count = 1
        for dim in self.shapes.get(name, ()):
            count *= dim
        return count

    def unsized(self, node: NodeProto) -> bool:
        """Whether a node writes a tensor whose shape is known only when it runs."""
        return any(name and name not in self.shapes for name in node.output)

    def bytes_of(self, name: str) -> int:
        """Size of a tensor in bytes as stored in the file's own type."""
        return self.elements(name) * self.itemsize.get(name, 4)


def wire(model: ModelProto) -> Wiring:
    """Return the wiring of the model's main graph.

    A free first dimension of an input is the batch and counts as one. Raises BadInput where another dimension is free,
    because every count would be a guess, and where a tensor is read that nothing makes.
    """
    if model.functions:
        model = inliner.inline_local_functions(model)
    inferred = infer(model)
    shapes = known_shapes(inferred)
    itemsize = {
        value.name: _itemsize(value.type.tensor_type.elem_type)
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
    }
    weights: dict[str, int] = {}
    for tensor in model.graph.initializer:
        shapes[tensor.name] = tuple(tensor.dims)
        itemsize[tensor.name] = _itemsize(tensor.data_type)
        weights[tensor.name] = element_count(tensor)
    for sparse in model.graph.sparse_initializer:
        shapes[sparse.values.name] = tuple(sparse.dims)
        itemsize[sparse.values.name] = _itemsize(sparse.values.data_type)
        weights[sparse.values.name] = element_count(sparse.values)
    for node in model.graph.node:
        value = constant_value(node)
        if value is not None:
            shapes[node.output[0]], itemsize[node.output[0]] = tuple(value.dims), _itemsize(value.data_type)
            weights[node.output[0]] = element_count(value)
    nodes = tuple(node for node in model.graph.node if node.op_type != "Constant")
    inputs = frozenset(value.name for value in model.graph.input) - weights.keys()
    _check_order(nodes, {*weights, *inputs})
    return Wiring(
        nodes=nodes,
        shapes=shapes,
        itemsize=itemsize,
        constants=_constants(nodes, frozenset(weights)),
        weights=weights,
        producer={name: at for at, node in enumerate(nodes) for name in node.output if name},
        consumers=_consumers(nodes),
        inputs=inputs,
        outputs=frozenset(value.name for value in model.graph.output),
    )


def _check_order(nodes: tuple[NodeProto, ...], known: set[str]) -> None:
    for node in nodes:
        for name in node.input:
            if name and name not in known:
                raise BadInput(
                    f"node {node.name[:60]!r} ({node.op_type[:40]}) reads {name[:60]!r}, which nothing before it "
                    "makes; export the model again"
                )
        known.update(node.output)


def _itemsize(data_type: int) -> int:
    """Bytes per element; four where the type is unknown or has no fixed size (strings)."""
    if data_type in (TensorProto.UNDEFINED, TensorProto.STRING):
        return 4
    return int(helper.tensor_dtype_to_np_dtype(data_type).itemsize)


def _constants(nodes: tuple[NodeProto, ...], stored: frozenset[str]) -> frozenset[str]:
    """Stored tensors and whatever is computed from them alone: the runtime folds those when it loads the model."""
    known = set(stored)
    for node in nodes:
        read = [name for name in node.input if name]
        if read and all(name in known for name in read) and not node.op_type.startswith("Random"):
            known.update(node.output)
    return frozenset(known)


def _consumers(nodes: tuple[NodeProto, ...]) -> dict[str, tuple[int, ...]]:
    readers: dict[str, list[int]] = defaultdict(list)
    for at, node in enumerate(nodes):
        for name in node.input:
            if name:
                readers[name].append(at)
    return {name: tuple(who) for name, who in readers.items()}
