"""A data set that was looked at but not yet decoded: what every reader returns."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgekd.errors import BadInput

Kind = Literal["image folder", "wav folder", "npz", "npy", "shards", "coco", "factory", "table"]
SplitName = Literal["train", "val", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = ("train", "val", "test")
UNLABELLED = ("unlabelled", "unlabeled")
"""What folders, files and keys of samples without labels are called beside those of the splits."""
UNREAD_LABELS = "labels of unlabelled samples were not read"

Labels = npt.NDArray[np.int64] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """One split as it came.

    fetch: index to a Pillow image, a uint8 (height, width, channels) array, an `edgekd.data.wav.Sound`, or a ready-made
        model input: an array of another type and any shape, as `as_ready` gives it. Of a source of `text`, to a `Text`.
    name: index to what messages call this sample.
    labels: returns class indices int64 (count,), numbers float32 (count, ...), boxes as `Source` says, or None where
        the data are unlabelled; may have to walk through the data.
    look: index to (height, width, channels) of an image without reading pixels, or to the header of a WAV file, where
        that can be had.
    """

    count: int
    fetch: Callable[[int], Any]
    name: Callable[[int], str]
    labels: Callable[[], Labels | None]
    look: Callable[[int], Any] | None = None


@dataclass(frozen=True)
class Source:
    """A whole data set. `classes` are the names in the order of the data's own label indices, where it has names.

    Where labels are `boxes` they are float32 (count, objects, classes + 4): a 1 at the class among zeros, then x1, y1,
    x2, y2, in shares of an image's width and height, or as they are for ready-made inputs; padded with rows of zeros.
    """

    kind: Kind
    parts: dict[SplitName, Part]
    labelled: bool
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    thread_safe: bool = True
    boxes: bool = False
    text: tuple[str, ...] = ()
    """Of a table of text: its column, or the two of a pair, first and second."""
    columns: tuple[str, ...] = ()
    """Of a table of numbers: what each number of an input is."""
    unlabelled: Part | None = None
    """Further samples to train on, without labels although the parts have them."""


def unlabelled_among(names: Iterable[str], where: str) -> str | None:
    """The one of these names that says unlabelled, if any does. Raises BadInput where two do."""
    found = sorted(name for name in names if name.lower() in UNLABELLED)
    if len(found) > 1:
        raise BadInput(f"{where} has both {found[0]!r} and {found[1]!r}; keep one")
    return found[0] if found else None


def joined(first: Part, second: Part) -> Part:
    """The samples of both as one part without labels."""

    def place(at: int) -> tuple[Part, int]:
        return (first, at) if at < first.count else (second, at - first.count)

    def fetch(at: int) -> Any:
        part, own = place(at)
        return part.fetch(own)

    def name(at: int) -> str:
        part, own = place(at)
        return part.name(own)

    def look(at: int) -> Any:
        part, own = place(at)
        return (part.look or part.fetch)(own)

    return Part(first.count + second.count, fetch, name, lambda: None, look if first.look else None)


def as_ready(value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A ready-made model input or several, as float32, or int64 where they are whole numbers."""
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which `check_finite` names
        return value.astype(np.float32 if value.dtype.kind == "f" else np.int64, copy=False)


def is_image(dtype: np.dtype[Any], rank: int) -> bool:
    """Whether one sample of this type and rank is an image: 8-bit (height, width) or (height, width, channels)."""
    return dtype == np.uint8 and rank in (2, 3)


def as_labels(values: Any, where: str, count: int) -> Labels:
    """Check labels and return whole numbers as int64 (count, ...), others as float32 (count, ...).

    Raises BadInput where there are more or fewer than `count`, or one is no number, or not finite.
    """
    try:
        labels = np.asarray(values)
    except ValueError as error:
        raise BadInput(f"{where} has labels of different shapes; give every sample as many numbers") from error
    if labels.dtype.kind not in "iuf" or labels.ndim == 0:
        raise BadInput(
            f"{where} is {labels.dtype} of shape {labels.shape}; labels are integer class indices, or floats to predict"
        )
    if len(labels) != count:
        raise BadInput(f"{where} has {len(labels)} labels for {count} samples; give one label per sample")
    if labels.dtype.kind != "f":
        return labels.astype(np.int64)
    with np.errstate(over="ignore"):
        numbers = labels.astype(np.float32)
    broken = np.flatnonzero(~np.isfinite(numbers.reshape(count, -1)).all(axis=1))
    if len(broken):
        raise BadInput(
            f"{where}[{broken[0]}] holds {_what_is_broken(numbers[broken[0]])}, as do {len(broken) - 1} others; labels "
            "must be finite float32 numbers, so mend or remove those samples"
        )
    return numbers


def as_classes(labels: Labels, where: str) -> npt.NDArray[np.int64]:
    """Check that labels are class indices, and return them as int64 (count,).

    Raises BadInput where they are floats, several per sample, negative, or too large for an index.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise BadInput(
            f"{where} has shape {labels.shape}; class labels are one index per sample, shape (n,), and numbers to "
            "predict are stored as floats"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise BadInput(f"{where} is {labels.dtype}; classes are integer indices from 0 up")
    if len(labels) and int(labels.min()) < 0:
        at = int(labels.argmin())
        raise BadInput(f"{where}[{at}] is {labels[at]}; classes are integer indices from 0 up")
    if len(labels) and int(labels.max()) > np.iinfo(np.int32).max:
        raise BadInput(f"{where} holds {labels.max()}, which cannot be a class index")
    return labels.astype(np.int64)


def check_finite(value: npt.NDArray[Any], where: str) -> None:
    """Refuse an input that holds NaN or infinity. Raises BadInput."""
    if not np.isfinite(value).all():
        raise BadInput(
            f"input {where} holds {_what_is_broken(value)}; inputs must be finite float32 numbers, so mend or remove it"
        )


def _what_is_broken(value: npt.NDArray[Any]) -> str:
    return "NaN" if np.isnan(value).any() else "infinity"
