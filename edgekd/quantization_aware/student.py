"""The fake-quantized copy of a model: an int8 graph whose weights, biases and scales of activations are parameters.

Every parameter counts in steps of 1/127 of its own range: a weight of the largest in its channel, a scale of itself, a
bias of what the largest weight of its channel brings about at full input. So one learning rate, in steps, suits tensors
whose values differ by orders of magnitude, and models of every kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
import torch
from torch import nn

from edgekd.quantization_aware.interpreter import Interpreter
from edgekd.quantization_aware.node import Node
from edgekd.quantization_aware.rounding import codes, dequantize_linear

STEPS = 127
"""Steps from zero to the end of a symmetric int8 range."""
FLOAT_PARAMETERS = {
    "BatchNormalization": (1, 2),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "MatMul": (1,),
}
"""Where an operator takes what was trained; other constants (exponents, bounds, shapes) stay as they are."""
WEIGHTS, BIASES = (torch.int8, torch.uint8), (torch.int32,)
SMALLEST_SHARE = 1e-3
"""A channel of zeros may still move, by steps of this share of the other channels'."""


@dataclass(frozen=True)
class _Bias:
    """The DequantizeLinear nodes of a layer's input, weight and bias; integer kernels take the bias's scale to be the
    product of the two others."""

    input: Node
    weight: Node
    bias: Node


class Student(nn.Module):
    """Maps inputs (batch, ...) to what the int8 file gives for them, a tuple of tensors (batch, ...), with gradients.

    Weights start from `original`, the constants of the float model by name, where the int8 file still holds the same
    within a step; else from what the file holds.
    """

    def __init__(self, model: onnx.ModelProto, where: str, original: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.graph = Interpreter(model, where)
        # What a Constant node holds stays: it is rarely a weight, and not written back.
        self.held = {one.name: self.graph.constants[one.name] for one in model.graph.initializer}
        self.steps = nn.ParameterList()
        self.units: list[torch.Tensor] = []
        self.place: dict[str, int] = {}
        self.scales: list[str] = []
        self.integers: dict[str, Node] = {}
        self.biases = _biases(self.graph.nodes, self.held)
        pairs = {node.inputs[:2] for node in self.graph.nodes if node.kind == "DequantizeLinear"}
        for node in self.graph.nodes:
            if node.kind == "QuantizeLinear":
                self._add_scale(node, pairs)
            elif node.kind == "DequantizeLinear":
                self._add_weight(node, original)
            for at in FLOAT_PARAMETERS.get(node.kind, ()):
                self._add_float(*node.inputs[at : at + 1])
        for bias in self.biases:
            self._add_bias(bias)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run the graph on float32 or integer inputs."""
        results: tuple[torch.Tensor, ...] = self.graph(inputs, self.current())
        return results

    def current(self) -> dict[str, torch.Tensor]:
        """What the parameters stand for now, by the name of the constant in the file: scales, codes, floats."""
        now = {name: self.steps[at] * self.units[at] for name, at in self.place.items()}
        now |= {name: self.held[name] * torch.exp(now[name]) for name in self.scales}
        for one in self.biases:
            now[one.bias.inputs[1]] = self._scale(one.input, now) * self._scale(one.weight, now)
        for name, node in self.integers.items():
            now[name] = codes(now[name], self._scale(node, now), self._zero_point(node), node.get("axis", 1))
        return now

    def _add(self, name: str, values: torch.Tensor, unit: torch.Tensor) -> None:
        if name not in self.place:
            self.place[name] = len(self.steps)
            self.steps.append(nn.Parameter(values / unit))
            self.units.append(unit)

    def _is_constant(self, name: str, *types: torch.dtype) -> bool:
        return name in self.held and self.held[name].dtype in types

    def _add_scale(self, node: Node, pairs: set[tuple[str, ...]]) -> None:
        """The scale of a QuantizeLinear, where those that undo it take the very same."""
        scale = node.inputs[1]
        if (node.outputs[0], scale) in pairs and self._is_constant(scale, torch.float32) and scale not in self.place:
            self.scales.append(scale)
            self._add(scale, torch.zeros_like(self.held[scale]), torch.tensor(1 / STEPS))

    def _add_weight(self, node: Node, original: Mapping[str, torch.Tensor]) -> None:
        """The int8 constant that a DequantizeLinear reads; its own scale stays as it is."""
        name, scale = node.inputs[:2]
        if not self._is_constant(name, *WEIGHTS) or not self._is_constant(scale, torch.float32) or name in self.place:
            return
        values = self._held(node)
        start = original.get(name.removesuffix("_quantized"), values)
        if start.shape == values.shape and bool(((start - values).abs() <= self.held[scale].max()).all()):
            values = start
        self.integers[name] = node
        self._add(name, values, _ranges(values) / STEPS)

    def _add_float(self, name: str = "") -> None:
        if self._is_constant(name, torch.float32):
            self._add(name, self.held[name], _ranges(self.held[name]) / STEPS)

    def _add_bias(self, one: _Bias) -> None:
        name, weight = one.bias.inputs[0], one.weight.inputs[0]
        unit = self.units[self.place[weight]].flatten()
        values = self._held(one.bias)
        unit = (unit if len(unit) == len(values) else unit.mean()) * self.held[one.input.inputs[1]] * STEPS
        self.integers[name] = one.bias
        self._add(name, values, unit)

    def _held(self, node: Node) -> torch.Tensor:
        """What a DequantizeLinear of constants gives in the file, float32."""
        return dequantize_linear(node, *(self.graph.constants[name] for name in node.inputs if name))

    def _scale(self, node: Node, now: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return now.get(node.inputs[1], self.held[node.inputs[1]])

    def _zero_point(self, node: Node) -> torch.Tensor:
        if len(node.inputs) > 2 and node.inputs[2]:
            return self.graph.constants[node.inputs[2]]
        return torch.zeros_like(self.held[node.inputs[1]], dtype=self.held[node.inputs[0]].dtype)


def _ranges(values: torch.Tensor) -> torch.Tensor:
    """The largest size of a value, per index of the first axis where there are several axes; it broadcasts."""
    largest = values.abs().max()
    if values.dim() < 2:
        return largest.clamp_min(torch.finfo(torch.float32).tiny)
    along = values.abs().amax(dim=tuple(range(1, values.dim())), keepdim=True)
    return torch.maximum(along, largest * SMALLEST_SHARE).clamp_min(torch.finfo(torch.float32).tiny)


def _biases(nodes: list[Node], constants: Mapping[str, torch.Tensor]) -> tuple[_Bias, ...]:
    """Every int32 bias whose scale is that product, of layers whose weight is an int8 constant."""
    made_by = {name: node for node in nodes if node.kind == "DequantizeLinear" for name in node.outputs}
    found: list[_Bias] = []
    for node in nodes:
        layer = [made_by[name] for name in node.inputs[:3] if name in made_by]
        if len(layer) < 3 or not all(one.inputs[1] in constants for one in layer):
            continue
        stored = [constants.get(one.inputs[0]) for one in layer[1:]]
        scales = [constants[one.inputs[1]] for one in layer]
        integers = [
            one is not None and one.dtype in types for one, types in zip(stored, (WEIGHTS, BIASES), strict=True)
        ]
        if all(integers) and torch.allclose(scales[0] * scales[1], scales[2], rtol=1e-4):
            found.append(_Bias(*layer))
    return tuple(found)
