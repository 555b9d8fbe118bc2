"""QuantizeLinear and DequantizeLinear with gradients.

Codes are whole numbers kept as float32. Rounding is passed straight through by the gradient (Bengio et al. 2013,
"Estimating or Propagating Gradients Through Stochastic Neurons", arXiv 1308.3432), clamping is not: outside the range
it is zero. For scale s and x inside the range the derivative of a pair by s is then round(x/s) - x/s, and at the ends
the code itself: Esser et al. 2020, "Learned Step Size Quantization", arXiv 1902.08153, equation 3.
"""

import torch

from edgekd.quantization_aware.node import Node, Operator

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32)


def codes(values: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor, axis: int = 1) -> torch.Tensor:
    """Return clamp(round(values / scale) + zero_point), float32 of the shape of `values`.

    `scale` and `zero_point` hold one number, or one per index along `axis`; the type of `zero_point` gives the range.
    """
    low, high = torch.iinfo(zero_point.dtype).min, torch.iinfo(zero_point.dtype).max
    scaled = values / _along(scale, values, axis)
    rounded = scaled.detach().round() + _along(zero_point, values, axis).float()
    clamped = rounded.clamp(low, high)
    # Adds exactly zero, and the gradient. Torch's own clamp passes none at the ends in some versions and some in
    # others, and the usual values + (round - values) gives numbers beside the whole ones.
    return clamped + torch.where(clamped == rounded, scaled - scaled.detach(), 0.0)


def quantize_linear(
    node: Node, x: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor | None = None
) -> torch.Tensor:
    """`codes` in the type of the zero point, by default uint8."""
    zero_point = torch.zeros_like(scale, dtype=torch.uint8) if zero_point is None else zero_point
    _check(node, zero_point)
    return codes(x, scale, zero_point, node.get("axis", 1))


def dequantize_linear(
    node: Node, x: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor | None = None
) -> torch.Tensor:
    """(x - zero_point) * scale, float32."""
    axis = node.get("axis", 1)
    if zero_point is None:
        return x.float() * _along(scale, x, axis)
    _check(node, zero_point)
    return (x.float() - _along(zero_point, x, axis).float()) * _along(scale, x, axis)


def _check(node: Node, zero_point: torch.Tensor) -> None:
    if node.get("block_size", 0) or zero_point.dtype not in INTEGERS:
        raise node.refuse("it quantizes by blocks, or to no integers of 8, 16 or 32 bits")


def _along(numbers: torch.Tensor, values: torch.Tensor, axis: int) -> torch.Tensor:
    """One number, or one per index along `axis`, in a shape that broadcasts."""
    if numbers.numel() == 1:
        return numbers.reshape(())
    shape = [1] * values.dim()
    shape[axis] = -1
    return numbers.reshape(shape)


ROUNDING: dict[str, Operator] = {"DequantizeLinear": dequantize_linear, "QuantizeLinear": quantize_linear}
