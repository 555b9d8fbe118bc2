"""Operators with weights, and normalisation: products, convolutions, norms."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from edgekd.quantization_aware.node import Node, Operator

Optional = torch.Tensor | None


def conv(node: Node, x: torch.Tensor, weight: torch.Tensor, bias: Optional = None) -> torch.Tensor:
    """Convolution of 1, 2 or 3 dimensions; x (batch, channels, ...)."""
    rank = weight.dim() - 2
    strides, dilations = sizes(node, "strides", rank), sizes(node, "dilations", rank)
    before, after = padding(node, x.shape[2:], weight.shape[2:], strides, dilations)
    if before != after:
        x, before = F.pad(x, flat_padding(before, after)), [0] * rank
    function = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
    return function(x, weight, bias, strides, before, dilations, node.get("group", 1))


def conv_transpose(node: Node, x: torch.Tensor, weight: torch.Tensor, bias: Optional = None) -> torch.Tensor:
    """The gradient of a convolution; what is padded is cut off the result."""
    rank = weight.dim() - 2
    if node.get("output_shape") or node.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise node.refuse("its padding follows from the output's shape")
    strides, dilations = sizes(node, "strides", rank), sizes(node, "dilations", rank)
    extra = node.get("output_padding") or [0] * rank
    pads = node.get("pads") or [0] * (2 * rank)
    function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank - 1]
    # Torch's own padding must be the same at both ends, so it is left at 0 and the result is cut.
    y = function(x, weight, bias, strides, 0, extra, node.get("group", 1), dilations)
    for axis in range(rank):
        y = y.narrow(axis + 2, pads[axis], y.shape[axis + 2] - pads[axis] - pads[axis + rank])
    return y


def gemm(node: Node, a: torch.Tensor, b: torch.Tensor, c: Optional = None) -> torch.Tensor:
    """alpha * A @ B + beta * C, each of A and B transposed where the node says so."""
    left, right = (a.T if node.get("transA", 0) else a), (b.T if node.get("transB", 0) else b)
    product: torch.Tensor = left @ right * node.get("alpha", 1.0)
    return product if c is None else product + c * node.get("beta", 1.0)


def matmul(node: Node, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a @ b


def batch_normalization(
    node: Node, x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor
) -> torch.Tensor:
    """With the stored statistics, as in inference."""
    if node.get("training_mode", 0):
        raise node.refuse("it is in training mode")
    return F.batch_norm(x, mean, variance, scale, bias, eps=node.get("epsilon", 1e-5))


def layer_normalization(node: Node, x: torch.Tensor, scale: torch.Tensor, bias: Optional = None) -> torch.Tensor:
    """Over the axes from `axis` on."""
    shape = list(x.shape[node.get("axis", -1) :])
    scale, bias = scale.expand(shape), None if bias is None else bias.expand(shape)
    return F.layer_norm(x, shape, scale, bias, node.get("epsilon", 1e-5))


def instance_normalization(node: Node, x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return F.instance_norm(x, weight=scale, bias=bias, eps=node.get("epsilon", 1e-5))


def group_normalization(node: Node, x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Scale and bias are per channel since opset 21, and per group before."""
    groups = node.get("num_groups")
    if len(scale) == groups:
        scale, bias = (each.repeat_interleave(x.shape[1] // groups) for each in (scale, bias))
    return F.group_norm(x, groups, scale, bias, node.get("epsilon", 1e-5))


def sizes(node: Node, name: str, rank: int) -> list[int]:
    """An attribute with one number per spatial axis, each 1 by default."""
    return list(node.get(name) or [1] * rank)


def padding(
    node: Node, image: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Padding before and after each spatial axis, from `pads` or `auto_pad`."""
    rank, auto = len(kernel), node.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", "VALID"):
        pads = list(node.get("pads") or []) if auto == "NOTSET" else []
        pads = pads or [0] * (2 * rank)
        return pads[:rank], pads[rank:]
    wanted = [
        max(0, (math.ceil(size / stride) - 1) * stride + (width - 1) * dilation + 1 - size)
        for size, width, stride, dilation in zip(image, kernel, strides, dilations, strict=True)
    ]
    halves = [total // 2 for total in wanted]
    rest = [total - half for total, half in zip(wanted, halves, strict=True)]
    return (halves, rest) if auto == "SAME_UPPER" else (rest, halves)


def flat_padding(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """Padding in the order that `torch.nn.functional.pad` takes: the last axis first."""
    return [amount for pair in zip(reversed(before), reversed(after), strict=True) for amount in pair]


LAYERS: dict[str, Operator] = {
    "BatchNormalization": batch_normalization,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "GroupNormalization": group_normalization,
    "InstanceNormalization": instance_normalization,
    "LayerNormalization": layer_normalization,
    "MatMul": matmul,
}
