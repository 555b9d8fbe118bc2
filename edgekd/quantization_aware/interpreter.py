"""An ONNX graph run in torch, node by node, with gradients to whatever stands in for its constants."""

from collections.abc import Mapping

import onnx
import torch
from torch import nn

from edgekd.errors import BadInput, reason_of
from edgekd.onnx_graph import STANDARD_DOMAINS, opset_of
from edgekd.quantization_aware.node import Node, node_of, tensor_of
from edgekd.quantization_aware.operators import OPERATORS

OPSETS = range(13, 24)
"""Before 13, axes are attributes where they are inputs now, and softmax flattens."""
_CONSTANTS = {
    "value_float": torch.float32,
    "value_floats": torch.float32,
    "value_int": torch.int64,
    "value_ints": torch.int64,
}


class Interpreter(nn.Module):
    """Maps an input (batch, ...) to a tuple of the graph's outputs, each (batch, ...).

    Where the graph fixes its batch size, a larger batch is run as so many pieces of that size at once; it must divide.

    Raises:
        BadInput: an opset, operator or constant that cannot be run with gradients, or not exactly one input.
    """

    def __init__(self, model: onnx.ModelProto, where: str) -> None:
        super().__init__()
        opset = opset_of(model)
        if opset not in OPSETS:
            raise BadInput(
                f"{where}: opset {opset} cannot be trained on; convert the model to one of {OPSETS[0]} to {OPSETS[-1]}."
            )
        self.where = where
        self.nodes = [node_of(one, opset) for one in model.graph.node if one.op_type != "Constant"]
        self.outputs = [one.name for one in model.graph.output]
        self.constants = constants_of(model, where)
        self.input, self.batch = _only_input(model, where)
        _check_operators(model)
        self.dropped = _last_uses(self.nodes, {*self.outputs, *self.constants, self.input})

    def forward(
        self, inputs: torch.Tensor, replaced: Mapping[str, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, ...]:
        """Run the graph; `replaced` holds what to take in the place of constants, by name."""
        if not self.batch or len(inputs) == self.batch:
            return self._run(inputs, replaced or {})
        pieces = inputs.reshape(-1, self.batch, *inputs.shape[1:])
        results = torch.vmap(lambda piece: self._run(piece, replaced or {}))(pieces)
        return tuple(output.flatten(0, 1) for output in results)

    def _run(self, inputs: torch.Tensor, replaced: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        values: dict[str, torch.Tensor | None] = {**self.constants, **replaced, self.input: inputs, "": None}
        for node, dropped in zip(self.nodes, self.dropped, strict=True):
            try:
                given = OPERATORS[node.kind](node, *(values[name] for name in node.inputs))
            except (RuntimeError, TypeError, IndexError, ValueError) as error:
                raise node.refuse(reason_of(error)) from error
            results = (given,) if isinstance(given, torch.Tensor) else given
            values |= zip(node.outputs, results, strict=False)
            for name in dropped:
                del values[name]
        return tuple(value for name in self.outputs if (value := values[name]) is not None)


def constants_of(model: onnx.ModelProto, where: str) -> dict[str, torch.Tensor]:
    """Return initializers and Constant nodes by name. Raises BadInput where torch has no type for one."""
    found: dict[str, torch.Tensor] = {}
    try:
        for node in model.graph.node:
            if node.op_type == "Constant":
                kind, content = next(iter(node_of(node, 0).attributes.items()))
                found[node.output[0]] = content if kind == "value" else torch.tensor(content, dtype=_CONSTANTS[kind])
        for one in model.graph.initializer:
            found[one.name] = tensor_of(one)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{where}: a constant cannot be trained on: {reason_of(error)}; take another scheme.") from error
    return found


def _only_input(model: onnx.ModelProto, where: str) -> tuple[str, int]:
    """Name of the input and its batch size, 0 where that is open."""
    constants = {one.name for one in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in constants]
    if len(inputs) != 1:
        raise BadInput(f"{where}: only a model of one input can be trained, this one has {len(inputs)}.")
    shape = inputs[0].type.tensor_type.shape.dim
    return inputs[0].name, shape[0].dim_value if shape else 0


def _check_operators(model: onnx.ModelProto) -> None:
    for one in model.graph.node:
        if (one.op_type not in OPERATORS and one.op_type != "Constant") or one.domain not in STANDARD_DOMAINS:
            raise node_of(one, 0).refuse("this operator has no form with gradients here")


def _last_uses(nodes: list[Node], kept: set[str]) -> list[list[str]]:
    """For each node the values that no later one reads, so that memory without gradients stays small."""
    seen = set(kept) | {""}
    dropped: list[list[str]] = []
    for node in reversed(nodes):
        names = {*node.inputs, *node.outputs} - seen
        seen |= names
        dropped.append(sorted(names))
    return dropped[::-1]
