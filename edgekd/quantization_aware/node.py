"""A node of an ONNX graph as the interpreter keeps it, and how to say no to one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from onnx import numpy_helper

from edgekd.errors import BadInput
from edgekd.formats.zip_members import shown

Values = torch.Tensor | tuple[torch.Tensor, ...]
Operator = Callable[..., Values]
"""`operator(node, *inputs)`: tensors in the node's order, None for an input left out; one tensor per output."""


@dataclass(frozen=True)
class Node:
    """One operator call. An input or output named "" is left out; `opset` is that of the whole model."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or `default` where the node does not state it."""
        return self.attributes.get(name, default)

    def refuse(self, what: str) -> BadInput:
        """The error that says what of this node cannot be run with gradients."""
        return BadInput(
            f"Node {shown(self.name or self.outputs[0])} ({shown(self.kind)}) cannot be trained on: {what}; take "
            "another scheme, or another operator in the model."
        )


def node_of(proto: onnx.NodeProto, opset: int) -> Node:
    """Read a node: strings decoded, tensors as torch tensors."""
    attributes = {one.name: _attribute(one) for one in proto.attribute}
    return Node(proto.op_type, proto.name, tuple(proto.input), tuple(proto.output), attributes, opset)


def tensor_of(proto: onnx.TensorProto) -> torch.Tensor:
    """Read a constant into memory of its own; numbers that torch has no type for raise TypeError."""
    return torch.from_numpy(numpy_helper.to_array(proto).copy())


def _attribute(proto: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(proto)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return tensor_of(value) if isinstance(value, onnx.TensorProto) else value


def integers(values: torch.Tensor) -> list[int]:
    """A tensor of shapes, axes or indices as a flat list."""
    return [int(value) for value in values.flatten().tolist()]
