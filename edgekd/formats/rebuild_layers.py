"""Which aten call becomes which nn.Module when an exported program is rebuilt; one function and table line each.

A function returns the module with its own hyper-parameters and the program's tensors, or None where the call is not
simply that layer (a computed weight, an unusual option); it then stays the aten call it was.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.fx import Node


@dataclass(frozen=True)
class Call:
    """One aten call: its arguments by schema name, and the parameters and buffers among them."""

    arguments: dict[str, Any]
    tensors: dict[Node, torch.Tensor]

    def tensor(self, name: str) -> torch.Tensor | None:
        """The parameter or buffer passed as `name`; None where it is absent or computed."""
        value = self.arguments.get(name)
        return self.tensors.get(value) if isinstance(value, Node) else None

    def parameters(self, *names: str) -> bool:
        """Tell whether each of `names` is a parameter of the program, or absent."""
        return all(self.arguments.get(name) is None or isinstance(self.tensor(name), nn.Parameter) for name in names)

    def rank(self) -> int:
        """Dimensions of the first argument, batch included."""
        first = next(iter(self.arguments.values()))
        return len(first.meta["val"].shape)


def adopt(module: nn.Module, **tensors: torch.Tensor | None) -> nn.Module:
    """Put the program's own tensors in the place of a module's fresh ones; tied weights stay one object."""
    for name, tensor in tensors.items():
        if tensor is not None:
            setattr(module, name, tensor)
    return module


def _convolution(call: Call, *, transposed: bool, rank: int) -> nn.Module | None:
    weight = call.tensor("weight")
    if weight is None or not call.parameters("weight", "bias") or call.rank() != rank + 2:
        return None
    arguments = call.arguments
    groups, kernel = arguments["groups"], tuple(weight.shape[2:])
    classes: dict[tuple[bool, int], Any] = {
        (False, 1): nn.Conv1d,
        (False, 2): nn.Conv2d,
        (False, 3): nn.Conv3d,
        (True, 1): nn.ConvTranspose1d,
        (True, 2): nn.ConvTranspose2d,
        (True, 3): nn.ConvTranspose3d,
    }
    if (transposed, rank) not in classes:
        return None
    padding = arguments["padding"]
    options: dict[str, Any] = {
        "stride": _each(arguments["stride"], rank),
        "padding": padding if isinstance(padding, str) else _each(padding, rank),
        "dilation": _each(arguments["dilation"], rank),
        "groups": groups,
        "bias": arguments["bias"] is not None,
    }
    if transposed:
        options["output_padding"] = _each(arguments["output_padding"], rank)
    outside, inside = weight.shape[0], weight.shape[1] * groups
    channels = (outside, inside) if transposed else (inside, outside)
    module = classes[transposed, rank](*channels, kernel, device="meta", **options)
    return adopt(module, weight=weight, bias=call.tensor("bias"))


def _each(value: Any, rank: int) -> Any:
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return values * rank if len(values) == 1 else values


def conv(call: Call) -> nn.Module | None:
    """conv1d, conv2d, conv3d, with numbers or a word ("same") as padding."""
    return _convolution(call, transposed=False, rank=call.rank() - 2)


def conv_transpose(call: Call) -> nn.Module | None:
    """conv_transpose1d, 2d and 3d."""
    return _convolution(call, transposed=True, rank=call.rank() - 2)


def convolution(call: Call) -> nn.Module | None:
    """The general form that decomposed programs hold."""
    return _convolution(call, transposed=bool(call.arguments["transposed"]), rank=call.rank() - 2)


def linear(call: Call) -> nn.Module | None:
    """Inputs (..., features) times a weight (outputs, features)."""
    weight = call.tensor("weight")
    if weight is None or not call.parameters("weight", "bias"):
        return None
    has_bias = call.arguments["bias"] is not None
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=has_bias, device="meta")
    return adopt(module, weight=weight, bias=call.tensor("bias"))


def batch_norm(call: Call) -> nn.Module | None:
    """Batch normalisation with running statistics; it learns them again in train()."""
    mean, variance = call.tensor("running_mean"), call.tensor("running_var")
    if mean is None or variance is None or not call.parameters("weight", "bias"):
        return None
    affine = call.arguments["weight"] is not None
    if affine != (call.arguments["bias"] is not None) or call.rank() > 5:
        return None
    kind = {4: nn.BatchNorm2d, 5: nn.BatchNorm3d}.get(call.rank(), nn.BatchNorm1d)
    # An eval-mode export of a cumulative average (momentum=None) states momentum 0.
    momentum = call.arguments["momentum"] or None
    module = kind(mean.shape[0], eps=call.arguments["eps"], momentum=momentum, affine=affine)
    return adopt(
        module, weight=call.tensor("weight"), bias=call.tensor("bias"), running_mean=mean, running_var=variance
    )


def layer_norm(call: Call) -> nn.Module | None:
    """Normalisation over the last dimensions."""
    if not call.parameters("weight", "bias"):
        return None
    shape, has_weight, has_bias = (call.arguments[key] for key in ("normalized_shape", "weight", "bias"))
    if has_weight is None and has_bias is not None:
        return None
    affine = has_weight is not None
    module = nn.LayerNorm(shape, call.arguments["eps"], affine, bias=has_bias is not None, device="meta")
    return adopt(module, weight=call.tensor("weight"), bias=call.tensor("bias"))


def group_norm(call: Call) -> nn.Module | None:
    """Normalisation over groups of channels."""
    weight = call.tensor("weight")
    if weight is None or call.tensor("bias") is None or not call.parameters("weight", "bias"):
        return None
    module = nn.GroupNorm(call.arguments["num_groups"], weight.shape[0], call.arguments["eps"], device="meta")
    return adopt(module, weight=weight, bias=call.tensor("bias"))


def prelu(call: Call) -> nn.Module | None:
    """Leaky rectifier with a learned slope."""
    weight = call.tensor("weight")
    if weight is None or not call.parameters("weight"):
        return None
    return adopt(nn.PReLU(weight.numel(), device="meta"), weight=weight)


def dropout(call: Call) -> nn.Module | None:
    """Dropout, off in eval() and on in train(), however it was when exported."""
    return nn.Dropout(call.arguments["p"])


def hardtanh(call: Call) -> nn.Module | None:
    """ReLU6 where the limits say so."""
    low, high = call.arguments["min_val"], call.arguments["max_val"]
    return nn.ReLU6() if (low, high) == (0, 6) else nn.Hardtanh(low, high)


def max_pool2d(call: Call) -> nn.Module | None:
    """Maximum over windows."""
    kernel, stride, padding, dilation, ceil = (
        call.arguments[key] for key in ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    )
    pair: dict[str, Any] = {"stride": _each(stride, 2) if stride else None, "padding": _each(padding, 2)}
    return nn.MaxPool2d(_each(kernel, 2), dilation=_each(dilation, 2), ceil_mode=ceil, **pair)


def avg_pool2d(call: Call) -> nn.Module | None:
    """Mean over windows."""
    kernel, stride, padding, ceil, count, divisor = (
        call.arguments[key]
        for key in ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    )
    return nn.AvgPool2d(
        _each(kernel, 2),
        _each(stride, 2) if stride else None,
        _each(padding, 2),
        ceil_mode=ceil,
        count_include_pad=count,
        divisor_override=divisor,
    )


def adaptive_avg_pool2d(call: Call) -> nn.Module | None:
    """Mean over a fixed number of windows; None where that number is computed."""
    size = call.arguments["output_size"]
    return nn.AdaptiveAvgPool2d(tuple(size)) if all(isinstance(side, int) for side in size) else None


def flatten(call: Call) -> nn.Module | None:
    """Neighbouring dimensions made one."""
    return nn.Flatten(call.arguments["start_dim"], call.arguments["end_dim"])


def _plain(build: Callable[[], nn.Module]) -> Callable[[Call], nn.Module | None]:
    return lambda call: build()


LAYERS: dict[str, Callable[[Call], nn.Module | None]] = {
    "conv1d.default": conv,
    "conv2d.default": conv,
    "conv3d.default": conv,
    "conv1d.padding": conv,
    "conv2d.padding": conv,
    "conv3d.padding": conv,
    "convolution.default": convolution,
    "conv_transpose1d.default": conv_transpose,
    "conv_transpose2d.input": conv_transpose,
    "conv_transpose3d.input": conv_transpose,
    "linear.default": linear,
    "batch_norm.default": batch_norm,
    "_native_batch_norm_legit_no_training.default": batch_norm,
    "layer_norm.default": layer_norm,
    "group_norm.default": group_norm,
    "prelu.default": prelu,
    "dropout.default": dropout,
    "feature_dropout.default": lambda call: nn.Dropout2d(call.arguments["p"]),
    "relu.default": _plain(nn.ReLU),
    "relu6.default": _plain(nn.ReLU6),
    "hardtanh.default": hardtanh,
    "silu.default": _plain(nn.SiLU),
    "hardswish.default": _plain(nn.Hardswish),
    "hardsigmoid.default": _plain(nn.Hardsigmoid),
    "mish.default": _plain(nn.Mish),
    "sigmoid.default": _plain(nn.Sigmoid),
    "tanh.default": _plain(nn.Tanh),
    "gelu.default": lambda call: nn.GELU(call.arguments["approximate"]),
    "leaky_relu.default": lambda call: nn.LeakyReLU(call.arguments["negative_slope"]),
    "max_pool2d.default": max_pool2d,
    "avg_pool2d.default": avg_pool2d,
    "adaptive_avg_pool2d.default": adaptive_avg_pool2d,
    "flatten.using_ints": flatten,
}
