"""A data set that was looked at but not yet decoded: what every reader returns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgekd.errors import BadInput

Kind = Literal["image folder", "npz", "factory"]
SplitName = Literal["train", "val", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Part:
    """One split as it came.

    fetch: index to a Pillow image, a uint8 (height, width, channels) array, or a float32 (channels, height, width)
        array that already is a model input.
    name: index to what messages call this image.
    labels: returns int64 (count,), or None where the data are unlabelled; may have to walk through the data.
    look: index to (height, width, channels) without reading pixels, where that can be had.
    """

    count: int
    fetch: Callable[[int], Any]
    name: Callable[[int], str]
    labels: Callable[[], npt.NDArray[np.int64] | None]
    look: Callable[[int], tuple[int, int, int]] | None = None


@dataclass(frozen=True)
class Source:
    """A whole data set. `classes` are the names in the order of the data's own label indices, where it has names."""

    kind: Kind
    parts: dict[SplitName, Part]
    labelled: bool
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    thread_safe: bool = True


def as_labels(values: Any, where: str, count: int) -> npt.NDArray[np.int64]:
    """Check class indices and return them as int64 (count,).

    Raises BadInput where there are more or fewer than `count`, or one is not an integer or is negative.
    """
    labels = np.asarray(values)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise BadInput(f"{where} has shape {labels.shape}; labels are one class index per image, shape (n,)")
    if len(labels) != count:
        raise BadInput(f"{where} has {len(labels)} labels for {count} images; give one label per image")
    if not np.issubdtype(labels.dtype, np.integer):
        raise BadInput(f"{where} is {labels.dtype}; labels are integer class indices from 0 up")
    if count and int(labels.min()) < 0:
        at = int(labels.argmin())
        raise BadInput(f"{where}[{at}] is {labels[at]}; labels are integer class indices from 0 up")
    if count and int(labels.max()) > np.iinfo(np.int32).max:
        raise BadInput(f"{where} holds {labels.max()}, which cannot be a class index")
    return labels.astype(np.int64)
