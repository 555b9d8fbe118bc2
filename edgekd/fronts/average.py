"""Fewer pixels or bands: each new one is the mean of the old ones that it covers, in part where it cuts through one.

Means, and not interpolation, which would skip what lies between the points that it reads.
"""

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from edgekd.errors import UsageError
from edgekd.fronts.place import Place

Side = Annotated[int, Field(ge=1, le=65536)]


class Average(nn.Module):
    """(batch, ..., h, w) to (batch, ..., height, width) by two products; without `columns`, only along h."""

    rows: Tensor
    columns: Tensor | None

    def __init__(self, rows: Tensor, columns: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        fewer = torch.matmul(self.rows, inputs)
        return fewer if self.columns is None else torch.matmul(fewer, self.columns)

    def extra_repr(self) -> str:
        shapes = [None if part is None else tuple(part.shape) for part in (self.rows, self.columns)]
        return f"rows={shapes[0]}, columns={shapes[1]}"


def resize(place: Place, height: Side, width: Side) -> Average:
    """Build the front for images (channels, h, w). Raises UsageError where they are none, or not larger."""
    if len(place.shape) != 3 or place.shape[1] < height or place.shape[2] < width:
        raise UsageError(f"resize={height},{width} makes images smaller, and the inputs are {_size(place)}")
    return Average(means(place.shape[1], height), means(place.shape[2], width).T.contiguous())


def bands(place: Place, count: Side) -> Average:
    """Build the front for frames ([1,] bands, frames). Raises UsageError where they are none, or not more bands."""
    if len(place.shape) not in (2, 3) or place.shape[-2] < count:
        raise UsageError(f"bands={count} leaves fewer bands of (bands, frames), and the inputs are {_size(place)}")
    return Average(means(place.shape[-2], count))


def means(before: int, after: int) -> Tensor:
    """Weights float32 (after, before): which share of each old one the new one, `before / after` wide, covers."""
    edges = np.linspace(0, before, after + 1)
    starts, ends = edges[:-1, None], edges[1:, None]
    cells = np.arange(before)
    covered = np.clip(np.minimum(ends, cells + 1) - np.maximum(starts, cells), 0, None)
    return torch.from_numpy(covered * after / before).float()


def _size(place: Place) -> str:
    return "x".join(map(str, place.shape))
