"""The images of one split decoded a chunk at a time, and what fails to decode counted."""

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgekd.data.classes import listed
from edgekd.data.image import DECODE_ERRORS, Fit, fit_image
from edgekd.data.source import Part
from edgekd.errors import BadInput
from edgekd.progress import Listener, Tick

CHUNK = 256


@dataclass(frozen=True)
class Chosen:
    """Which images of which part make up one split, and their labels."""

    part: Part
    indices: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64] | None


@dataclass
class Tally:
    """What has happened so far, over all splits."""

    total: int
    max_skipped: float
    done: int = 0
    duplicates: int = 0
    skipped: list[str] = field(default_factory=list)
    seen: set[bytes] = field(default_factory=set)
    """Digests of the images of splits that are finished."""


def decoded_rows(
    chosen: Chosen,
    decoders: ThreadPoolExecutor,
    fit: Fit | None,
    shape: tuple[int, ...],
    tally: Tally,
    progress: Listener,
) -> Iterator[tuple[npt.NDArray[Any], np.int64 | None]]:
    """Decoded images with their labels, in order, a chunk in memory at a time; those that fail go to `tally`."""

    def prepare(at: int) -> npt.NDArray[Any] | str:
        try:
            image = chosen.part.fetch(at)
            return _checked_input(image, shape) if fit is None else fit_image(image, fit)
        except DECODE_ERRORS as error:
            reason = "".join(c for c in " ".join(str(error).split()) if c.isprintable())
            return f"{listed([chosen.part.name(at)])} ({type(error).__name__}: {reason[:120]})"

    for start in range(0, len(chosen.indices), CHUNK):
        indices = chosen.indices[start : start + CHUNK].tolist()
        with warnings.catch_warnings():
            # Big photographs are welcome; what Pillow takes for a bomb is an error, and counts as undecodable.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            prepared = list(decoders.map(prepare, indices))
        for offset, row in enumerate(prepared, start):
            if isinstance(row, str):
                tally.skipped.append(row)
                check_skipped(tally, final=False)
            else:
                yield row, None if chosen.labels is None else chosen.labels[offset]
        tally.done += len(indices)
        progress(Tick("images", tally.done, tally.total))


def _checked_input(image: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    if isinstance(image, Image.Image) or image.dtype != np.float32 or image.shape != shape:
        told = "an 8-bit image" if isinstance(image, Image.Image) or image.dtype != np.float32 else image.shape
        raise ValueError(f"{told} where the model takes a float input of shape {shape}")
    return np.asarray(image, np.float32)


def check_skipped(tally: Tally, *, final: bool) -> None:
    """Refuse once more images fail than the share allows; not before three can be named, or all were tried."""
    count = len(tally.skipped)
    if count > tally.max_skipped * tally.total and (final or count >= 3):
        raise BadInput(
            f"{'' if final else 'at least '}{count} of {tally.total} images cannot be used, more than the "
            f"{100 * tally.max_skipped:g} % that may be skipped: {'; '.join(tally.skipped[:3])}; repair or remove them"
        )
