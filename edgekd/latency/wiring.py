"""Who makes and who reads each tensor of an ONNX graph, with its shape: what every later count starts from."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    inliner,
    numpy_helper,
    shape_inference,
)

from edgekd.errors import BadInput

_KEPT_VALUES = 1024
"""Constants up to this many elements keep their values, because shapes may be computed from them."""


@dataclass(frozen=True)
class Wiring:
    """A graph's nodes in topological order and its tensors by name.

    `shapes` holds what is known after inference, a batch of one; `itemsize` bytes per element; `constants` the tensors
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
        """Number of elements of a tensor; one where its shape could not be inferred."""
        count = 1
        for dim in self.shapes.get(name, ()):
            count *= dim
        return count

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
    try:
        inferred = shape_inference.infer_shapes(_without_weights(model), strict_mode=False, data_prop=True).graph
    except (shape_inference.InferenceError, ValueError, RuntimeError) as error:
        words = " ".join(str(error).split())[:200]
        raise BadInput(f"onnx cannot infer the shapes in this model ({words}); export it again") from error
    shapes: dict[str, tuple[int, ...]] = {}
    itemsize: dict[str, int] = {}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        _note(value, shapes, itemsize)
    weights: dict[str, int] = {}
    for tensor in model.graph.initializer:
        shapes[tensor.name] = tuple(tensor.dims)
        itemsize[tensor.name] = _itemsize(tensor.data_type)
        weights[tensor.name] = _count(tensor)
    for sparse in model.graph.sparse_initializer:
        shapes[sparse.values.name] = tuple(sparse.dims)
        itemsize[sparse.values.name] = _itemsize(sparse.values.data_type)
        weights[sparse.values.name] = _count(sparse.values)
    for node in model.graph.node:
        value = _constant_value(node)
        if value is not None:
            shapes[node.output[0]], itemsize[node.output[0]] = tuple(value.dims), _itemsize(value.data_type)
            weights[node.output[0]] = _count(value)
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


def _without_weights(model: ModelProto) -> ModelProto:
    """The model as shape inference needs it: large weights turned into inputs, so that nothing big is copied."""
    graph = GraphProto(name=model.graph.name)
    graph.node.extend(model.graph.node)
    stored = {tensor.name for tensor in model.graph.initializer}
    graph.input.extend(_batch_of_one(value) for value in model.graph.input if value.name not in stored)
    for tensor in model.graph.initializer:
        if _count(tensor) <= _KEPT_VALUES and tensor.data_location != TensorProto.EXTERNAL:
            graph.initializer.append(tensor)
        else:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    graph.value_info.extend(value for value in model.graph.value_info if _is_fixed(value))
    for value in model.graph.output:
        bare = helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, None)
        graph.output.append(value if _is_fixed(value) else bare)
    return onnx.ModelProto(
        ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions, graph=graph
    )


def _batch_of_one(value: ValueInfoProto) -> ValueInfoProto:
    dims: list[int] = []
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value > 0:
            dims.append(dim.dim_value)
        elif axis == 0:
            dims.append(1)
        else:
            free = f" ({dim.dim_param[:40]!r})" if dim.dim_param else ""
            raise BadInput(
                f"input {value.name[:60]!r} leaves dimension {axis}{free} open, so its work cannot be counted; "
                "export it with a fixed shape"
            )
    return helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, dims)


def _is_fixed(value: ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    return kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim)


def _note(value: ValueInfoProto, shapes: dict[str, tuple[int, ...]], itemsize: dict[str, int]) -> None:
    kind = value.type.tensor_type
    if kind.HasField("shape"):
        shapes[value.name] = tuple(dim.dim_value if dim.HasField("dim_value") else 1 for dim in kind.shape.dim)
    itemsize[value.name] = _itemsize(kind.elem_type)


def _itemsize(data_type: int) -> int:
    """Bytes per element; four where the type is unknown or has no fixed size (strings)."""
    if data_type in (TensorProto.UNDEFINED, TensorProto.STRING):
        return 4
    return int(helper.tensor_dtype_to_np_dtype(data_type).itemsize)


def _count(tensor: TensorProto) -> int:
    count = 1
    for dim in tensor.dims:
        count *= dim
    return count


def _constant_value(node: NodeProto) -> TensorProto | None:
    if node.op_type != "Constant" or not node.attribute or not node.output:
        return None
    value = helper.get_attribute_value(node.attribute[0])
    return value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value))


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
