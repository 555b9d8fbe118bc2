"""Resizing pixels by products of whole numbers, bit for bit as Pillow does it.

For graphs of an opset whose Resize cannot smooth. Each pixel is a sum over a window of pixels; the weights are fixed
point of 22 bits, as in Pillow's Resample.c, and are multiplied byte by byte because the integer product takes bytes.
"""

import numpy as np
from onnx import TensorProto

from edgekd.artifact.app.nodes import Nodes
from edgekd.artifact.app.resize import Filter, Side, first_kept, middle

BITS = 22
REACH = {"bilinear": 1.0, "bicubic": 2.0}
"""Of the filter to each side, in pixels of the coarser grid."""
RAISED = 128
"""Added to the uppermost byte of a weight, which may be negative; a row of ones takes it off again."""
PLACES = np.array([1.0, 2.0**8, 2.0**16, -RAISED * 2.0**16])


def resize_with_products(nodes: Nodes, pixels: str, kind: Filter, *sides: Side) -> str:
    """Resize pixels uint8 (height, width, channels) along one side after the other, smoothed, and cut out the middle.

    A side that has its size already costs nothing.
    """
    for side in sides:
        pixels = _along(nodes, pixels, kind, side)
    return pixels


def _along(nodes: Nodes, pixels: str, kind: Filter, side: Side) -> str:
    """Write the pixels resized along one side, or only cut where they have its size."""

    def cut(branch: Nodes) -> str:
        return branch.add("Identity", pixels) if side.kept is None else middle(branch, pixels, side, side.kept)

    def resized(branch: Nodes) -> str:
        turned = branch.add("Transpose", pixels, perm=[1, 0, 2]) if side.dimension else pixels
        sums = _weighted_sums(branch, branch.add("Flatten", turned, axis=1), *_windows(branch, kind, side))
        row = branch.add("Slice", branch.add("Shape", turned), np.array([1]), np.array([3]))
        found = branch.add("Reshape", sums, branch.add("Concat", np.array([-1]), row, axis=0))
        return branch.add("Transpose", found, perm=[1, 0, 2]) if side.dimension else found

    return nodes.choice(nodes.add("Equal", side.have, side.becomes), cut, resized, TensorProto.UINT8)


def _windows(nodes: Nodes, kind: Filter, side: Side) -> tuple[str, str]:
    """Write the windows of the kept pixels: their weights, whole float64 (kept, window), and places, int64."""
    have, becomes = nodes.cast(side.have, np.float64), nodes.cast(side.becomes, np.float64)
    scale = nodes.add("Div", have, becomes)
    spread = nodes.add("Max", scale, np.float64(1))
    reach = nodes.add("Mul", spread, np.float64(REACH[kind]))
    at = _count(nodes, becomes if side.kept is None else nodes.cast(side.kept, np.float64))
    if side.kept is not None:
        at = nodes.add("Add", at, nodes.cast(first_kept(nodes, side, side.kept), np.float64))
    centre = nodes.add("Mul", nodes.add("Add", nodes.add("Unsqueeze", at, np.array([1])), np.float64(0.5)), scale)
    first = nodes.add("Max", _whole(nodes, nodes.add("Sub", centre, reach)), np.float64(0))
    end = nodes.add("Min", _whole(nodes, nodes.add("Add", centre, reach)), have)
    window = nodes.add("Ceil", nodes.add("Mul", reach, np.float64(2)))
    places = nodes.add("Add", first, _count(nodes, window))
    off = nodes.add("Add", nodes.add("Sub", places, centre), np.float64(0.5))
    distance = nodes.add("Abs", nodes.add("Mul", off, nodes.add("Div", np.float64(1), spread)))
    weights = nodes.add("Where", nodes.add("Less", places, end), FILTERS[kind](nodes, distance), np.float64(0))
    weights = nodes.add("Div", weights, nodes.add("ReduceSum", weights, np.array([1])))
    fixed = _whole(nodes, nodes.add("Mul", weights, np.float64(2**BITS)))
    last = nodes.add("Sub", have, np.float64(1))
    return fixed, nodes.cast(nodes.add("Min", places, last), np.int64)


def _weighted_sums(nodes: Nodes, pixels: str, weights: str, places: str) -> str:
    """Write the weighted sums of rows of pixels uint8 (rows, ...), rounded to levels uint8 (kept, ...)."""
    rows = nodes.add("Unsqueeze", weights, np.array([1]))
    third, above = (nodes.add("Floor", nodes.add("Div", rows, np.float64(2**bits))) for bits in (16, 8))
    first = nodes.add("Sub", rows, nodes.add("Mul", above, np.float64(2**8)))
    second = nodes.add("Sub", above, nodes.add("Mul", third, np.float64(2**8)))
    ones = nodes.add("Add", nodes.add("Mul", rows, np.float64(0)), np.float64(1))
    parts = nodes.add("Concat", first, second, nodes.add("Add", third, np.float64(RAISED)), ones, axis=1)
    windows = nodes.add("Gather", pixels, places, axis=0)
    sums = nodes.add("MatMulInteger", nodes.cast(parts, np.uint8), windows)
    total = nodes.add("MatMul", PLACES, nodes.cast(sums, np.float64))
    levels = _whole(nodes, nodes.add("Mul", total, np.float64(2.0**-BITS)))
    return nodes.cast(nodes.add("Min", nodes.add("Max", levels, np.float64(0)), np.float64(255)), np.uint8)


def _triangle(nodes: Nodes, distance: str) -> str:
    return nodes.add("Max", nodes.add("Sub", np.float64(1), distance), np.float64(0))


def _cubic(nodes: Nodes, distance: str) -> str:
    """Keys's cubic with a = -0.5, the terms in Pillow's order."""
    near = nodes.add("Sub", nodes.add("Mul", distance, np.float64(1.5)), np.float64(2.5))
    near = nodes.add("Add", nodes.add("Mul", nodes.add("Mul", near, distance), distance), np.float64(1))
    far = nodes.add("Add", nodes.add("Mul", nodes.add("Sub", distance, np.float64(5)), distance), np.float64(8))
    far = nodes.add("Mul", nodes.add("Sub", nodes.add("Mul", far, distance), np.float64(4)), np.float64(-0.5))
    far = nodes.add("Where", nodes.add("Less", distance, np.float64(2)), far, np.float64(0))
    return nodes.add("Where", nodes.add("Less", distance, np.float64(1)), near, far)


def _whole(nodes: Nodes, value: str) -> str:
    """Write the nearest whole numbers."""
    return nodes.add("Floor", nodes.add("Add", value, np.float64(0.5)))


def _count(nodes: Nodes, end: str) -> str:
    """Write 0, 1, 2 ... below `end`, a float64 (1,)."""
    return nodes.add("Range", np.float64(0), nodes.add("Squeeze", end), np.float64(1))


FILTERS = {"bilinear": _triangle, "bicubic": _cubic}
"""Weight by distance, of pixels of the coarser grid."""
