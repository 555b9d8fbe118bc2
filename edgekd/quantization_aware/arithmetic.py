"""Operators that work value by value: sums, activations, comparisons, conversions."""

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import onnx
import torch
import torch.nn.functional as F

from edgekd.quantization_aware.node import Node, Operator

DTYPES = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.BOOL: torch.bool,
}
"""What Cast can make; narrower floats would round where the runtime's kernels may not."""


def _plain(function: Callable[..., torch.Tensor]) -> Operator:
    """An operator without attributes."""
    return lambda node, *inputs: function(*inputs)


def _folded(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Operator:
    """An operator over any number of inputs, taken two at a time."""
    return lambda node, *inputs: reduce(function, inputs)


def divide(node: Node, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Integers are divided towards zero."""
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def power(node: Node, base: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    """A constant exponent is taken as a number, of which torch knows the exact derivative."""
    if exponent.numel() == 1 and not exponent.requires_grad:
        return torch.pow(base, exponent.item()).to(base.dtype)
    return torch.pow(base, exponent).to(base.dtype)


def modulo(node: Node, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The sign follows the divisor, or with `fmod` the dividend."""
    return torch.fmod(a, b) if node.get("fmod", 0) else torch.remainder(a, b)


def clip(
    node: Node, x: torch.Tensor, low: torch.Tensor | None = None, high: torch.Tensor | None = None
) -> torch.Tensor:
    """No gradient outside the bounds."""
    least = None if low is None else low.item()
    most = None if high is None else high.item()
    return x if least is None and most is None else torch.clamp(x, least, most)


def leaky_relu(node: Node, x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, node.get("alpha", 0.01))


def prelu(node: Node, x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    return torch.where(x < 0, x * slope, x)


def elu(node: Node, x: torch.Tensor) -> torch.Tensor:
    return F.elu(x, node.get("alpha", 1.0))


def hard_sigmoid(node: Node, x: torch.Tensor) -> torch.Tensor:
    return torch.clamp(node.get("alpha", 0.2) * x + node.get("beta", 0.5), 0.0, 1.0)


def gelu(node: Node, x: torch.Tensor) -> torch.Tensor:
    return F.gelu(x, approximate=node.get("approximate", "none"))


def softmax(node: Node, x: torch.Tensor) -> torch.Tensor:
    return F.softmax(x, dim=node.get("axis", -1))


def log_softmax(node: Node, x: torch.Tensor) -> torch.Tensor:
    return F.log_softmax(x, dim=node.get("axis", -1))


def cast(node: Node, x: torch.Tensor) -> torch.Tensor:
    """To a type of `DTYPES`."""
    if node.get("to") not in DTYPES:
        raise node.refuse(f"it casts to {onnx.TensorProto.DataType.Name(node.get('to'))}")
    return x.to(DTYPES[node.get("to")])


def _where(node: Node, condition: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.where(condition, a, b)


_binary: dict[str, Callable[..., Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "And": torch.logical_and,
    "Or": torch.logical_or,
}
_unary: dict[str, Callable[..., Any]] = {
    "Abs": torch.abs,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "HardSwish": F.hardswish,
    "IsNaN": torch.isnan,
    "Log": torch.log,
    "Mish": F.mish,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sin": torch.sin,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "Sqrt": torch.sqrt,
    "Tanh": torch.tanh,
}
ARITHMETIC: dict[str, Operator] = {
    **{name: _plain(function) for name, function in (_binary | _unary).items()},
    "Cast": cast,
    "Clip": clip,
    "Div": divide,
    "Elu": elu,
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "LeakyRelu": leaky_relu,
    "LogSoftmax": log_softmax,
    "Max": _folded(torch.maximum),
    "Min": _folded(torch.minimum),
    "Mod": modulo,
    "PRelu": prelu,
    "Pow": power,
    "Softmax": softmax,
    "Sum": _folded(operator.add),
    "Where": _where,
}
