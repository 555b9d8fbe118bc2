"""The samples of one split decoded a chunk at a time, and what fails to decode counted."""

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from edgekd.data.classes import listed
from edgekd.data.image import DECODE_ERRORS, Fit, fit_image
from edgekd.data.source import Labels, Part, check_finite
from edgekd.data.wav import Sound, fit_sound
from edgekd.errors import BadInput
from edgekd.preprocessing import Preprocessing
from edgekd.progress import Listener, Tick

CHUNK = 256


@dataclass(frozen=True)
class Chosen:
    """Which samples of which part make up one split, and their labels."""

    part: Part
    indices: npt.NDArray[np.int64]
    labels: Labels | None


@dataclass
class Tally:
    """What has happened so far, over all splits. `what` the samples are called in messages."""

    total: int
    max_skipped: float
    what: str = "images"
    unlabelled: int = 0
    """How many of `total` have no label although the others have."""
    done: int = 0
    duplicates: int = 0
    labelled_too: int = 0
    """Unlabelled samples that train has with a label."""
    failed: list[str] = field(default_factory=list)
    failed_unlabelled: list[str] = field(default_factory=list)
    resampled: list[str] = field(default_factory=list)
    """Names of sounds whose rate was another than the model's."""
    seen: set[bytes] = field(default_factory=set)
    """Digests of the inputs of splits that are finished."""

    @property
    def skipped(self) -> list[str]:
        """What failed to decode, of all samples."""
        return [*self.failed, *self.failed_unlabelled]


def decoded_rows(
    chosen: Chosen, decoders: ThreadPoolExecutor, how: Preprocessing, tally: Tally, progress: Listener
) -> Iterator[tuple[npt.NDArray[Any], Any]]:
    """Inputs with their labels, in order, a chunk in memory at a time; files that fail to decode go to `tally`.

    Raises BadInput where too many fail, or a ready-made input is of another shape or type than the first, or holds a
    value that is not finite.
    """
    channels, height, width = how.shape if not how.identity else (0, 0, 0)
    fit = None if how.identity else Fit(height, width, channels, how.resize, how.crop)

    def prepare(at: int) -> npt.NDArray[Any] | str:
        name = chosen.part.name(at)
        if fit is None and chosen.part.look is None:
            return _checked_input(chosen.part.fetch(at), name, how)
        try:
            value = chosen.part.fetch(at)
            return _fitted(value, name, how, tally) if fit is None else fit_image(_as_image(value), fit)
        except UnidentifiedImageError:  # whose own words hold the whole path
            return f"{listed([name])} (no known kind of image)"
        except DECODE_ERRORS as error:
            reason = "".join(c for c in " ".join(str(error).split()) if c.isprintable())
            return f"{listed([name])} ({type(error).__name__}: {reason[:120]})"

    failed = tally.failed_unlabelled if tally.unlabelled and chosen.labels is None else tally.failed
    for start in range(0, len(chosen.indices), CHUNK):
        indices = chosen.indices[start : start + CHUNK].tolist()
        with warnings.catch_warnings():
            # Big photographs are welcome; what Pillow takes for a bomb is an error, and counts as undecodable.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            prepared = list(decoders.map(prepare, indices))
        for offset, row in enumerate(prepared, start):
            if isinstance(row, str):
                failed.append(row)
                check_skipped(tally, final=False)
            else:
                yield row, None if chosen.labels is None else chosen.labels[offset]
        tally.done += len(indices)
        progress(Tick("samples" if how.identity else "images", tally.done, tally.total))


def _checked_input(value: Any, name: str, how: Preprocessing) -> npt.NDArray[Any]:
    told = "an 8-bit image" if isinstance(value, Image.Image) or value.dtype == np.uint8 else value.shape
    if told != how.shape:
        raise BadInput(f"input {name} is {told} where the others are of shape {how.shape}; give inputs of one shape")
    if how.dtype == "int64" and value.dtype != np.int64:
        raise BadInput(f"input {name} holds floats where the others are whole numbers; give inputs of one type")
    check_finite(value, name)
    return np.asarray(value, how.dtype)


def _fitted(sound: Sound, name: str, how: Preprocessing, tally: Tally) -> npt.NDArray[Any]:
    rate = how.sample_rate or sound.rate
    if sound.rate != rate:
        tally.resampled.append(name)
    return fit_sound(sound, rate=rate, samples=how.shape[-1]).reshape(how.shape)


def _as_image(value: Any) -> Any:
    if not isinstance(value, Image.Image) and value.dtype != np.uint8:
        raise ValueError(f"{value.dtype} of shape {value.shape} where the others are 8-bit images")
    return value


def check_skipped(tally: Tally, *, final: bool) -> None:
    """Refuse once more files fail than the share allows; not before three can be named, or all were tried.

    Unlabelled samples are held to it apart, as their number would excuse any number of labelled ones that fail.
    """
    labelled = f"{'labelled ' if tally.unlabelled else ''}{tally.what}"
    for failed, total, what in (
        (tally.failed, tally.total - tally.unlabelled, labelled),
        (tally.failed_unlabelled, tally.unlabelled, f"unlabelled {tally.what}"),
    ):
        count = len(failed)
        if count > tally.max_skipped * total and (final or count >= 3):
            raise BadInput(
                f"{'' if final else 'at least '}{count} of {total} {what} cannot be used, more than the "
                f"{100 * tally.max_skipped:g} % that may be skipped: {'; '.join(failed[:3])}; repair or remove them"
            )
