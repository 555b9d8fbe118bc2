"""Resize by nearest or linear interpolation, one axis after the other."""

import torch

from edgekd.quantization_aware.node import Node, Operator, integers

Optional = torch.Tensor | None


def resize(
    node: Node, x: torch.Tensor, roi: Optional = None, scales: Optional = None, wanted: Optional = None
) -> torch.Tensor:
    """To the sizes `wanted`, or by `scales`; both for all axes, or for those that the attribute `axes` names."""
    mode = node.get("mode", "nearest")
    if mode not in ("nearest", "linear") or node.get("antialias", 0):
        raise node.refuse(f"it resizes in mode {mode!r}, antialiased or not; nearest and linear are known")
    if node.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise node.refuse("it keeps the ratio of the sides")
    axes = node.get("axes") or list(range(x.dim()))
    if wanted is not None and wanted.numel():
        after = integers(wanted)
        factors = [size / x.shape[axis] for size, axis in zip(after, axes, strict=True)]
    else:
        assert scales is not None  # the checker asks for one of the two
        factors = [float(factor) for factor in scales.tolist()]
        after = [int(factor * x.shape[axis]) for factor, axis in zip(factors, axes, strict=True)]
    for axis, size, factor in zip(axes, after, factors, strict=True):
        if factor != 1.0:
            places = _coordinates(node, x.shape[axis], size, factor)
            x = _nearest(node, x, axis, places) if mode == "nearest" else _linear(x, axis, places)
    return x


def _coordinates(node: Node, before: int, after: int, factor: float) -> torch.Tensor:
    """Where each of the `after` places lies among the `before`, float64 (after,)."""
    at = torch.arange(after, dtype=torch.float64)
    rule = node.get("coordinate_transformation_mode", "half_pixel")
    if rule == "align_corners":
        return at * (before - 1) / max(1, after - 1)
    if rule == "asymmetric":
        return at / factor
    if rule == "pytorch_half_pixel" and after == 1:
        return torch.zeros(1, dtype=torch.float64)
    if rule in ("half_pixel", "pytorch_half_pixel"):
        return (at + 0.5) / factor - 0.5
    raise node.refuse(f"it resizes by the rule {rule!r}")


def _nearest(node: Node, x: torch.Tensor, axis: int, places: torch.Tensor) -> torch.Tensor:
    rounded = {
        "round_prefer_floor": torch.ceil(places - 0.5),
        "round_prefer_ceil": torch.floor(places + 0.5),
        "floor": places.floor(),
        "ceil": places.ceil(),
    }[node.get("nearest_mode", "round_prefer_floor")]
    return x.index_select(axis, rounded.long().clamp(0, x.shape[axis] - 1).to(x.device))


def _linear(x: torch.Tensor, axis: int, places: torch.Tensor) -> torch.Tensor:
    places = places.clamp(0, x.shape[axis] - 1)
    low = places.floor().long()
    high = (low + 1).clamp(max=x.shape[axis] - 1)
    shape = [1] * x.dim()
    shape[axis] = -1
    share = (places - low).to(x.dtype).reshape(shape).to(x.device)
    return x.index_select(axis, low.to(x.device)) * (1 - share) + x.index_select(axis, high.to(x.device)) * share


RESIZE: dict[str, Operator] = {"Resize": resize}
