"""Operators that reduce: pooling windows, means and sums over axes."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from edgekd.quantization_aware.layers import flat_padding, padding, sizes
from edgekd.quantization_aware.node import Node, Operator, integers


def max_pool(node: Node, x: torch.Tensor) -> torch.Tensor:
    """The greatest value of each window; what is padded never wins."""
    kernel, strides, before, after = _windows(node, x)
    x = F.pad(x, flat_padding(before, after), value=-math.inf)
    function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    pooled: torch.Tensor = function(
        x, kernel, strides, 0, sizes(node, "dilations", len(kernel)), ceil_mode=bool(node.get("ceil_mode", 0))
    )
    return pooled


def average_pool(node: Node, x: torch.Tensor) -> torch.Tensor:
    """The mean of each window, over what lies inside the image unless `count_include_pad` says otherwise."""
    kernel, strides, before, after = _windows(node, x)
    if max(sizes(node, "dilations", len(kernel))) > 1:
        raise node.refuse("its windows are dilated")
    ceil = bool(node.get("ceil_mode", 0))
    function = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
    pads = flat_padding(before, after)
    padded = F.pad(x, pads)
    pooled: torch.Tensor = function(padded, kernel, strides, 0, ceil)
    if any(pads) and not node.get("count_include_pad", 0):
        inside = F.pad(torch.ones_like(x[:1, :1]), pads)
        pooled = pooled / function(inside, kernel, strides, 0, ceil)
    return pooled


def _windows(node: Node, x: torch.Tensor) -> tuple[list[int], list[int], list[int], list[int]]:
    """Kernel, strides, and padding before and after."""
    if len(node.outputs) > 1:
        raise node.refuse("its indices are asked for")
    kernel = list(node.get("kernel_shape"))
    strides = sizes(node, "strides", len(kernel))
    before, after = padding(node, x.shape[2:], kernel, strides, sizes(node, "dilations", len(kernel)))
    return kernel, strides, before, after


def global_average_pool(node: Node, x: torch.Tensor) -> torch.Tensor:
    return x.mean(dim=tuple(range(2, x.dim())), keepdim=True)


def global_max_pool(node: Node, x: torch.Tensor) -> torch.Tensor:
    return x.amax(dim=tuple(range(2, x.dim())), keepdim=True)


def _reduced(function: Callable[[torch.Tensor, tuple[int, ...], bool], torch.Tensor]) -> Operator:
    """A reduction over the axes that attribute (older opsets) or input name; over all where neither does."""

    def reduction(node: Node, x: torch.Tensor, axes: torch.Tensor | None = None) -> torch.Tensor:
        named = list(node.get("axes") or []) if axes is None else integers(axes)
        if not named and node.get("noop_with_empty_axes", 0):
            return x
        return function(x, tuple(named) or tuple(range(x.dim())), bool(node.get("keepdims", 1)))

    return reduction


def arg_max(node: Node, x: torch.Tensor) -> torch.Tensor:
    """The first of the greatest values."""
    if node.get("select_last_index", 0):
        raise node.refuse("it asks for the last of equal values")
    return x.argmax(dim=node.get("axis", 0), keepdim=bool(node.get("keepdims", 1)))


def cumulative_sum(node: Node, x: torch.Tensor, axis: torch.Tensor) -> torch.Tensor:
    if node.get("exclusive", 0) or node.get("reverse", 0):
        raise node.refuse("it sums backwards, or leaves a value out")
    return x.cumsum(int(axis.item()))


POOLING: dict[str, Operator] = {
    "ArgMax": arg_max,
    "AveragePool": average_pool,
    "CumSum": cumulative_sum,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "MaxPool": max_pool,
    "ReduceL2": _reduced(lambda x, axes, keep: torch.linalg.vector_norm(x, dim=axes, keepdim=keep)),
    "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(lambda x, axes, keep: x.mean(dim=axes, keepdim=keep)),
    "ReduceMin": _reduced(torch.amin),
    "ReduceSum": _reduced(lambda x, axes, keep: x.sum(dim=axes, keepdim=keep)),
}
