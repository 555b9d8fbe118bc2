"""What an app has, made from test samples, with what the pipeline makes of it: images of various sizes and proportions,
sounds and texts of various lengths. Needs Pillow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.artifact.contract import Contract
from edgekd.data.image import Fit, fit_image
from edgekd.data.split import open_split
from edgekd.data.wav import Sound, fit_sound
from edgekd.preprocessing import normalise, sample_inputs

Array = npt.NDArray[Any]
VIEWS = ((1.0, 1.0), (1.5, 1.5), (1.3, 1.9), (1.0, 1.0), (2.1, 1.2), (0.8, 0.9), (1.2, 1.2), (2.0, 2.0))
"""Height and width of raw images, relative to the model's, one pair after the other; 1, 1 leaves an image as it is."""
WINDOWS = ((0.0, 0.0, 1.0), (0.0, 0.0, 0.5), (0.5, 0.5, 0.5), (0.3, 0.3, 0.35), (0.0, 0.65, 0.35))
"""Top, left and side of the part of a scene that a raw image shows, relative to the whole: where fewer objects are to
be found, more answers are beyond doubt."""
LENGTHS = (1.0, 1.5, 0.75, 1.25)
"""Of raw sounds, relative to the model's."""
MADE_UP_GRID = 5
"""Made-up images are that many random colours across and down, with soft edges: more like a photograph than noise."""


@dataclass(frozen=True)
class RawInputs:
    """raw: what an app has, one array each: uint8 (height, width, channels), float32 (frames,), int64 (tokens,), or the
    model's input. inputs: the model inputs that they become, (n, ...). fitted: images as they are before they are
    normalised, uint8 (n, height, width, channels), else the inputs."""

    raw: tuple[Array, ...]
    inputs: Array
    fitted: Array

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of the raw images; of other inputs it has no meaning."""
        return [(one.shape[0], one.shape[1] if one.ndim > 1 else 1) for one in self.raw]


def raw_inputs(contract: Contract, data: Path | None, count: int) -> RawInputs:
    """The first `count` test samples of the splits in `data`, or made-up ones where there are no data."""
    stored = np.asarray(open_split(data, "test").inputs[:count]) if data else _made_up(contract, count)
    if contract.kind == "image":
        fit = Fit(*contract.sides, contract.channels or 0, contract.resize, contract.crop)
        windows = WINDOWS if contract.answer == "boxes" else WINDOWS[:1]
        shown = [_part(image, windows[at % len(windows)]) for at, image in enumerate(stored)]
        raw = [_resized(image, VIEWS[at % len(VIEWS)]) for at, image in enumerate(shown)]
        fitted = np.stack([fit_image(image, fit) for image in raw])
        return RawInputs(tuple(raw), normalise(fitted, contract), fitted)
    if contract.kind == "sound":
        raw = [_lengthened(sound.ravel(), LENGTHS[at % len(LENGTHS)]) for at, sound in enumerate(stored)]
        rate, samples = contract.sample_rate or 0, int(np.prod(contract.shape))
        inputs = np.stack([fit_sound(Sound(one, rate), rate=rate, samples=samples) for one in raw])
        inputs = inputs.reshape(len(raw), *contract.shape)
        return RawInputs(tuple(raw), inputs, inputs)
    inputs = normalise(stored, contract) if data else stored
    raw = [_without_padding(one, contract) for one in inputs]
    return RawInputs(tuple(raw), inputs, inputs)


def _made_up(contract: Contract, count: int) -> Array:
    if contract.kind != "image":
        return sample_inputs(count, contract.shape, contract.dtype)
    colours = np.random.default_rng(0).integers(0, 256, (count, MADE_UP_GRID, MADE_UP_GRID, contract.channels or 0))
    fit = Fit(*contract.sides, contract.channels or 0)
    return np.stack([fit_image(one.astype(np.uint8), fit) for one in colours])


def _part(image: Array, window: tuple[float, float, float]) -> Array:
    (top, left, share), (height, width) = window, image.shape[:2]
    first, begin = round(top * height), round(left * width)
    return image[first : first + max(1, round(share * height)), begin : begin + max(1, round(share * width))]


def _resized(image: Array, view: tuple[float, float]) -> Array:
    """An image brought to other sizes, which are odd unless it stays as it is."""
    if view == (1.0, 1.0):
        return np.ascontiguousarray(image)
    height, width = (max(1, round(side * factor)) | 1 for side, factor in zip(image.shape, view, strict=False))
    return fit_image(image, Fit(height, width, image.shape[2]))


def _lengthened(sound: Array, factor: float) -> Array:
    """A sound with its own beginning and end around it, or without them."""
    more = round(abs(factor - 1) * len(sound) / 2)
    if not more:
        return sound
    return np.concatenate([sound[-more:], sound, sound[:more]]) if factor > 1 else sound[more:-more]


def _without_padding(one: Array, contract: Contract) -> Array:
    if contract.tokens is None:
        return one
    told = np.flatnonzero(one != contract.tokens.pad)
    return one[: max(1, int(told[-1]) + 1 if len(told) else 1)]
