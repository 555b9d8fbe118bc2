"""Resizing pixels along one side by the operator Resize.

ONNX Runtime's kernel is made after Pillow's: whole numbers of 22 bits, rounded to 8 bits after each direction. Its
weights come from float32 where Pillow's come from float64, so now and then a pixel is one level off.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgekd.artifact.app.nodes import Nodes, Value

DOWN, ACROSS = 0, 1
"""Dimensions of pixels (height, width, channels)."""
Filter = Literal["bilinear", "bicubic"]
MODES = {"bilinear": "linear", "bicubic": "cubic"}


@dataclass(frozen=True)
class Side:
    """One side of an image, by its dimension: it has `have` pixels and becomes so many, of which the middle `kept` stay
    (None: all). The values are int64 (1,)."""

    dimension: int
    have: Value
    becomes: Value
    kept: Value | None


def resize_with_operator(nodes: Nodes, pixels: str, side: Side, kind: Filter) -> str:
    """Resize pixels uint8 (height, width, channels) along one side, smoothed, and cut out the middle."""
    image = nodes.add("Unsqueeze", pixels, np.array([0]))
    resized = nodes.add(
        *("Resize", image, "", "", side.becomes),
        axes=[side.dimension + 1],
        mode=MODES[kind],
        antialias=1,
        exclude_outside=1,
        cubic_coeff_a=-0.5,
    )
    whole = nodes.add("Squeeze", resized, np.array([0]))
    return whole if side.kept is None else middle(nodes, whole, side, side.kept)


def middle(nodes: Nodes, pixels: str, side: Side, kept: Value) -> str:
    """Cut out the middle of pixels along one side."""
    start = first_kept(nodes, side, kept)
    return nodes.add("Slice", pixels, start, nodes.add("Add", start, kept), np.array([side.dimension]))


def first_kept(nodes: Nodes, side: Side, kept: Value) -> str:
    """Write where the middle begins, int64 (1,): half of what is cut off, halves rounded to even as Python does."""
    half = nodes.add("Mul", nodes.cast(nodes.add("Sub", side.becomes, kept), np.float64), np.array([0.5]))
    return nodes.cast(nodes.add("Round", half), np.int64)
