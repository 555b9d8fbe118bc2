"""Operators that move values: reshape, slice, gather, join, pad."""

import numpy as np
import torch
import torch.nn.functional as F

from edgekd.quantization_aware.layers import flat_padding
from edgekd.quantization_aware.node import Node, Operator, integers

Optional = torch.Tensor | None


def reshape(node: Node, x: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    """A 0 keeps the dimension in its place, unless `allowzero` is set."""
    wanted = integers(shape)
    if not node.get("allowzero", 0):
        wanted = [x.shape[at] if size == 0 else size for at, size in enumerate(wanted)]
    return x.reshape(wanted)


def flatten(node: Node, x: torch.Tensor) -> torch.Tensor:
    """To two dimensions, split before `axis`."""
    axis = node.get("axis", 1) % (x.dim() + 1)
    rows = 1
    for size in x.shape[:axis]:
        rows *= size
    return x.reshape(rows, -1)


def transpose(node: Node, x: torch.Tensor) -> torch.Tensor:
    return x.permute(node.get("perm") or list(reversed(range(x.dim()))))


def squeeze(node: Node, x: torch.Tensor, axes: Optional = None) -> torch.Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(integers(axes)))


def unsqueeze(node: Node, x: torch.Tensor, axes: torch.Tensor) -> torch.Tensor:
    """`axes` count in the result."""
    named = integers(axes)
    for axis in sorted(axis % (x.dim() + len(named)) for axis in named):
        x = x.unsqueeze(axis)
    return x


def concat(node: Node, *parts: torch.Tensor) -> torch.Tensor:
    return torch.cat(parts, dim=node.get("axis"))


def split(node: Node, x: torch.Tensor, parts: Optional = None) -> tuple[torch.Tensor, ...]:
    """Into the sizes given, or evenly into as many parts as there are outputs, the last one smaller."""
    axis = node.get("axis", 0)
    if parts is not None:
        return torch.split(x, integers(parts), dim=axis)
    return torch.split(x, -(-x.shape[axis] // len(node.outputs)), dim=axis)


def slice_(
    node: Node, x: torch.Tensor, starts: torch.Tensor, ends: torch.Tensor, axes: Optional = None, steps: Optional = None
) -> torch.Tensor:
    """Along each axis as Python slices do, backwards too."""
    first, last = integers(starts), integers(ends)
    named = list(range(len(first))) if axes is None else integers(axes)
    strides = [1] * len(first) if steps is None else integers(steps)
    for axis, start, end, step in zip(named, first, last, strides, strict=True):
        size = x.shape[axis]
        chosen = range(*slice(start, None if step < 0 and end < -size else end, step).indices(size))
        if step > 0:
            x = x[(slice(None),) * (axis % x.dim()) + (slice(chosen.start, chosen.stop, step),)]
        else:
            x = x.index_select(axis, torch.tensor(list(chosen), dtype=torch.long, device=x.device))
    return x


def gather(node: Node, x: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Rows by index of any shape; a negative one counts from the end."""
    axis = node.get("axis", 0) % x.dim()
    flat = indices.flatten().long()
    rows = x.index_select(axis, torch.where(flat < 0, flat + x.shape[axis], flat))
    return rows.reshape(x.shape[:axis] + indices.shape + x.shape[axis + 1 :])


def gather_elements(node: Node, x: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    axis = node.get("axis", 0)
    return x.gather(axis, torch.where(indices < 0, indices + x.shape[axis], indices))


def pad(node: Node, x: torch.Tensor, pads: torch.Tensor, value: Optional = None, axes: Optional = None) -> torch.Tensor:
    """Constant, reflected or repeated values around the axes named, by default all."""
    amounts = integers(pads)
    named = list(range(x.dim())) if axes is None else [axis % x.dim() for axis in integers(axes)]
    before, after = [0] * x.dim(), [0] * x.dim()
    for at, axis in enumerate(named):
        before[axis], after[axis] = amounts[at], amounts[at + len(named)]
    mode = node.get("mode", "constant")
    if mode == "constant":
        return F.pad(x, flat_padding(before, after), value=0.0 if value is None else value.item())
    if mode not in ("reflect", "edge") or any((*before[:2], *after[:2])):
        raise node.refuse(f"it pads in mode {mode!r} along the batch or the channels")
    return F.pad(x, flat_padding(before[2:], after[2:]), mode="replicate" if mode == "edge" else mode)


def expand(node: Node, x: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    return x.expand(np.broadcast_shapes(x.shape, tuple(integers(shape))))


def tile(node: Node, x: torch.Tensor, repeats: torch.Tensor) -> torch.Tensor:
    return x.repeat(integers(repeats))


def shape_of(node: Node, x: torch.Tensor) -> torch.Tensor:
    return torch.tensor(x.shape[node.get("start", 0) : node.get("end")], dtype=torch.int64)


def constant_of_shape(node: Node, shape: torch.Tensor) -> torch.Tensor:
    value: torch.Tensor = node.get("value", torch.zeros(1))
    return value.expand(integers(shape)).clone()


def range_(node: Node, start: torch.Tensor, limit: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


def triangle(node: Node, x: torch.Tensor, diagonal: Optional = None) -> torch.Tensor:
    offset = 0 if diagonal is None else int(diagonal.item())
    return x.triu(offset) if node.get("upper", 1) else x.tril(offset)


def depth_to_space(node: Node, x: torch.Tensor) -> torch.Tensor:
    """Channels to blocks of `blocksize`, in the order of columns and rows before, or behind, the channels."""
    size = node.get("blocksize")
    batch, channels, height, width = x.shape
    if node.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, size)
    x = x.reshape(batch, size, size, channels // size**2, height, width).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(batch, channels // size**2, height * size, width * size)


def space_to_depth(node: Node, x: torch.Tensor) -> torch.Tensor:
    size = node.get("blocksize")
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels, height // size, size, width // size, size).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(batch, channels * size**2, height // size, width // size)


def identity(node: Node, x: torch.Tensor, *unused: torch.Tensor | None) -> torch.Tensor:
    """Identity, and Dropout as it is in inference."""
    return x


SHAPING: dict[str, Operator] = {
    "Concat": concat,
    "ConstantOfShape": constant_of_shape,
    "DepthToSpace": depth_to_space,
    "Dropout": identity,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "GatherElements": gather_elements,
    "Identity": identity,
    "Pad": pad,
    "Range": range_,
    "Reshape": reshape,
    "Shape": shape_of,
    "Slice": slice_,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Trilu": triangle,
    "Unsqueeze": unsqueeze,
}
