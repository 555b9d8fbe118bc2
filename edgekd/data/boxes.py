"""Boxes as labels, whatever they were read from: float32 (n, objects, classes + 4), as `Source` describes them."""

from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt

from edgekd.data.source import Labels, Part, Source
from edgekd.errors import BadInput
from edgekd.preprocessing import Preprocessing

Boxes = npt.NDArray[np.float32]


def as_boxes(source: Source, where: str) -> Source:
    """Take numbers (n, objects, classes + 4), boxes in pixels of their images, for boxes.

    Raises BadInput where labels are none, or come from code, which says no image's size before it is read.
    """
    if source.kind == "factory":
        raise BadInput(f"{where}: boxes are read from a folder with a coco.json or from an .npz file; give one of them")
    parts = {name: _part_in_shares(part, f"{where}: {name}") for name, part in source.parts.items()}
    return replace(source, parts=parts, boxes=True)


def reordered(part: Part, mapping: npt.NDArray[np.int64] | None, classes: tuple[str, ...] | None) -> Part:
    """The part with its columns of classes where the wanted order, of which `mapping` gives the index, has them."""
    if mapping is None or classes is None:
        return part

    @cache
    def labels() -> Labels | None:
        own = part.labels()
        if own is None:
            return None
        if own.shape[2] - 4 != len(mapping):
            raise BadInput(
                f"boxes are of {own.shape[2] - 4} classes, and the data name {len(mapping)}; name every class"
            )
        found = np.zeros((*own.shape[:2], len(classes) + 4), np.float32)
        found[..., mapping], found[..., -4:] = own[..., :-4], own[..., -4:]
        return found

    return replace(part, labels=labels)


def in_pixels(labels: Labels | None, how: Preprocessing) -> Labels | None:
    """Boxes in shares of an image as boxes in pixels of the model's input, to which images are resized whole."""
    if labels is None or how.identity:
        return labels
    _, height, width = how.shape
    return np.concatenate([labels[..., :-4], labels[..., -4:] * np.tile([width, height], 2)], axis=2, dtype=np.float32)


def _part_in_shares(part: Part, where: str) -> Part:
    @cache
    def labels() -> Labels | None:
        own = part.labels()
        if own is None:
            return None
        rows = own[..., :-4] if own.ndim == 3 else np.empty(0)
        marked = rows.sum(axis=-1)
        if own.ndim != 3 or own.shape[2] < 5 or own.dtype.kind != "f" or not np.isin(rows, (0, 1)).all():
            raise BadInput(
                f"{where} has labels {own.dtype} of shape {own.shape}; boxes are floats (n, objects, classes + 4): a 1 "
                "at the class among zeros, then x1, y1, x2, y2 in pixels, or zeros alone as padding"
            )
        if (marked > 1).any():
            raise BadInput(f"{where} has a box of several classes; give one class to each")
        real = marked > 0
        inverted = (own[real][:, -2:] <= own[real][:, -4:-2]).any(axis=1)
        if inverted.any():
            raise BadInput(
                f"{where} has the box {own[real][inverted][0, -4:].tolist()}; boxes are x1, y1, x2, y2 with x1 < "
                "x2 and y1 < y2: mend or remove it"
            )
        height, width = part.look(0)[:2] if part.look else (1, 1)
        found = own.astype(np.float32)
        found[..., -4:] /= np.tile([width, height], 2)
        if part.look and (found[real][:, -4:].min(initial=0) < 0 or found[real][:, -4:].max(initial=0) > 1):
            raise BadInput(f"{where} has a box outside its image of {height} x {width}; cut it to the image")
        found[~real] = 0
        return found

    return replace(part, labels=labels)
