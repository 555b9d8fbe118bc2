"""Random views of images: shifted, flipped and, where strong ones are asked for, recoloured, turned, partly erased.

Everything works on uint8 (batch, height, width, channels), and what happens to an image follows from (seed, epoch, its
index) alone. Strong views are a subset of RandAugment (Cubuk et al. 2020) with two operations an image, whose strengths
are uniform as in TrivialAugment (Müller and Hutter 2021), and random erasing (Zhong et al. 2020) after them.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgekd.training.draws import Bits, Indices, draw_bits, unit_interval

Augment = Literal["none", "flip", "crop", "crop+flip", "strong"]
Images = npt.NDArray[np.uint8]
Strengths = npt.NDArray[np.float64]

# The shift of a crop is at most an eighth of the side: 4 pixels at 32, as is usual on CIFAR.
SHIFT_SHARE = 8
OPERATIONS_PER_IMAGE = 2
# The widest changes at full strength, those of torchvision's RandAugment.
COLOUR_RANGE, POSTERISED_BITS, SHEAR_RANGE, ROTATION_RANGE = 0.9, 4, 0.3, math.radians(30)
# Random erasing: how often, which share of the area, and height over width; the last two are timm's.
ERASED_OFTEN, ERASED_AREA, ERASED_RATIO = 0.25, (0.02, 1 / 3), (0.3, 1 / 0.3)

_LEVELS = np.arange(256)
_FLIP_BIT = np.uint64(1 << 63)
_CROP_STREAM, _ERASE_STREAMS, _OPERATION_STREAM = 0, (1, 2), 3


def augmented(
    images: npt.NDArray[Any], indices: Indices, *, augment: Augment, seed: int, epoch: int
) -> tuple[npt.NDArray[Any], Bits]:
    """Return the views of the images at `indices`, and 64 bits each, uint64 (batch,), that tell a sample's views apart.

    `images` is uint8 (n, height, width, channels); with `augment` "none" any array is read as it is. Equal bits mean
    equal views: a crop's are its shift and its flip, so that they are equal too where a later epoch draws the same;
    `flipped` reads the flip from them.
    """
    if augment == "none":
        return np.ascontiguousarray(images[indices]), np.zeros(len(indices), np.uint64)
    bits = draw_bits(indices, seed=seed, epoch=epoch, stream=_CROP_STREAM)
    if augment == "flip":
        flips = bits & _FLIP_BIT
        views = np.ascontiguousarray(images[indices])
        views[flips > 0] = views[flips > 0, :, ::-1]
        return views, flips
    views, shifts = _cropped(images, indices, bits, flip=augment != "crop")
    if augment != "strong":
        return views, shifts
    for turn in range(OPERATIONS_PER_IMAGE):
        _operate(views, draw_bits(indices, seed=seed, epoch=epoch, stream=_OPERATION_STREAM + turn))
    _erase(views, *(draw_bits(indices, seed=seed, epoch=epoch, stream=stream) for stream in _ERASE_STREAMS))
    return views, bits


def flipped(bits: Bits) -> npt.NDArray[np.bool_]:
    """Which views are flipped left to right: bool (batch,), of the bits that `augmented` gave."""
    return np.asarray(bits & _FLIP_BIT > 0)


def brightness(images: Images, strengths: Strengths) -> Images:
    """Scale all values by 0.1 to 1.9."""
    return _remapped(images, _LEVELS * _factors(strengths)[:, None])


def contrast(images: Images, strengths: Strengths) -> Images:
    """Scale the distance of all values from the image's mean by 0.1 to 1.9."""
    # Integer sums, since those of floats would depend on how many images are summed at once.
    means = images.sum(axis=(1, 2, 3), dtype=np.int64)[:, None] / images[0].size
    return _remapped(images, means + (_LEVELS - means) * _factors(strengths)[:, None])


def autocontrast(images: Images, strengths: Strengths) -> Images:
    """Stretch the values of the image to 0..255, in all channels alike; there is no weaker or stronger."""
    low, high = (edge(axis=(1, 2, 3)).astype(np.float64)[:, None] for edge in (images.min, images.max))
    return _remapped(images, np.where(high > low, (_LEVELS - low) * 255 / np.maximum(high - low, 1), _LEVELS))


def posterise(images: Images, strengths: Strengths) -> Images:
    """Drop up to 4 of the 8 bits."""
    dropped = np.rint(np.abs(strengths) * POSTERISED_BITS).astype(np.int64)[:, None]
    return _remapped(images, _LEVELS >> dropped << dropped)


def solarise(images: Images, strengths: Strengths) -> Images:
    """Invert the values from a threshold on: from none of them at strength 0 to all at 1."""
    return _remapped(images, np.where(256 * (1 - np.abs(strengths))[:, None] <= _LEVELS, 255 - _LEVELS, _LEVELS))


def saturation(images: Images, strengths: Strengths) -> Images:
    """Scale the distance of every channel from the channels' mean by 0.1 to 1.9; grey images stay as they are."""
    channels = images.shape[-1]
    grey = np.zeros(images.shape[:-1], np.float32)
    for channel in range(channels):
        grey += images[..., channel]
    factors = _factors(strengths).astype(np.float32)[:, None, None]
    grey *= (1 - factors) / np.float32(channels)
    # Repeated, since numpy broadcasts along a last axis of 3 several times more slowly than it adds.
    values = images * factors[..., None] + np.repeat(grey, channels, axis=-1).reshape(images.shape)
    return np.clip(np.rint(values, out=values), 0, 255, out=values).astype(np.uint8)


def rotate(images: Images, strengths: Strengths) -> Images:
    """Turn the image about its centre by up to 30 degrees either way."""
    angles = strengths * ROTATION_RANGE
    return _warped(images, np.stack([np.cos(angles), -np.sin(angles), np.sin(angles), np.cos(angles)], axis=1))


def shear_rows(images: Images, strengths: Strengths) -> Images:
    """Slant the image: rows shift sideways by up to 0.3 of their distance from the centre."""
    one, none = np.ones_like(strengths), np.zeros_like(strengths)
    return _warped(images, np.stack([one, none, strengths * SHEAR_RANGE, one], axis=1))


def shear_columns(images: Images, strengths: Strengths) -> Images:
    """Slant the image: columns shift up or down by up to 0.3 of their distance from the centre."""
    one, none = np.ones_like(strengths), np.zeros_like(strengths)
    return _warped(images, np.stack([one, strengths * SHEAR_RANGE, none, one], axis=1))


def _cropped(images: npt.NDArray[Any], indices: Indices, bits: Bits, *, flip: bool) -> tuple[npt.NDArray[Any], Bits]:
    """Images shifted, with edges mirrored, and perhaps flipped; and the draw that decided it."""
    height, width = images.shape[1:3]
    rows, columns = (_shift(bits >> np.uint64(20 * at), side) for at, side in enumerate((height, width)))
    flipped = bits >> np.uint64(63) if flip else np.zeros_like(bits)
    row_at, column_at = (
        _mirrored(np.arange(side) + shift[:, None], side) for shift, side in ((rows, height), (columns, width))
    )
    column_at = np.where(flipped[:, None].astype(bool), column_at[:, ::-1], column_at)
    views = np.empty((len(indices), *images.shape[1:]), images.dtype)
    # Image by image: two takes of one image stay in the cache and are several times as fast as one of the whole batch.
    for view, index, row, column in zip(views, indices, row_at, column_at, strict=True):
        view[...] = images[index].take(row, axis=0).take(column, axis=1)
    draws = (
        (rows + height).astype(np.uint64)
        | (columns + width).astype(np.uint64) << np.uint64(31)
        | flipped << np.uint64(63)
    )
    return views, draws


def _shift(bits: Bits, side: int) -> Indices:
    reach = side // SHIFT_SHARE
    return ((bits & np.uint64(0xFFFFF)) % np.uint64(2 * reach + 1)).astype(np.int64) - reach


def _mirrored(positions: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    """Pixel positions brought into the image by mirroring them at its edges, without repeating the edge pixel."""
    inside = np.abs(positions)
    return np.asarray(np.clip(np.where(inside >= side, 2 * (side - 1) - inside, inside), 0, side - 1))


def _operate(images: Images, bits: Bits) -> None:
    """Change every image in place by the operation, and as strongly, as its bits say."""
    chosen = bits % np.uint64(1 << 11) % np.uint64(len(OPERATIONS))
    strengths = 2 * unit_interval(bits) - 1
    for at, operation in enumerate(OPERATIONS.values()):
        rows = np.flatnonzero(chosen == at)
        if len(rows):
            images[rows] = operation(images[rows], strengths[rows])


def _erase(images: Images, often: Bits, where: Bits) -> None:
    """Fill a rectangle in some of the images with the image's own mean colour, in place."""
    height, width = images.shape[1:3]
    for row in np.flatnonzero(unit_interval(often) < ERASED_OFTEN):
        parts = (int(where[row]) >> shift & 0xFFFF for shift in (0, 16, 32, 48))
        area, ratio, top, left = (part / 0x10000 for part in parts)
        pixels = height * width * (ERASED_AREA[0] + area * (ERASED_AREA[1] - ERASED_AREA[0]))
        aspect = ERASED_RATIO[0] * (ERASED_RATIO[1] / ERASED_RATIO[0]) ** ratio
        tall = min(height, max(1, round(math.sqrt(pixels * aspect))))
        wide = min(width, max(1, round(math.sqrt(pixels / aspect))))
        top, left = int(top * (height - tall + 1)), int(left * (width - wide + 1))
        colour = images[row].sum(axis=(0, 1), dtype=np.int64) // (height * width)
        images[row, top : top + tall, left : left + wide] = colour


def _factors(strengths: Strengths) -> Strengths:
    return 1 + COLOUR_RANGE * strengths


def _remapped(images: Images, tables: npt.NDArray[Any]) -> Images:
    """Every value replaced by what its image's table (batch, 256) has for it, rounded into 0..255."""
    levels = np.clip(np.rint(tables), 0, 255).astype(np.uint8)
    # bytes.translate does a table's worth of work 5 times as fast as numpy's indexing.
    mapped = [image.tobytes().translate(table.tobytes()) for image, table in zip(images, levels, strict=True)]
    return np.frombuffer(b"".join(mapped), np.uint8).reshape(images.shape)


def _warped(images: Images, matrices: npt.NDArray[np.float64]) -> Images:
    """Pixels taken from where matrices (batch, 4) map (row, column) about the centre; nearest pixel, edges mirrored."""
    height, width, channels = images.shape[1:]
    row = (np.arange(height, dtype=np.float32) - (height - 1) / 2)[:, None]
    column = (np.arange(width, dtype=np.float32) - (width - 1) / 2)[None]
    out = np.empty_like(images)
    for view, image, matrix in zip(out, images, matrices.astype(np.float32), strict=True):
        rows = np.rint(matrix[0] * row + matrix[1] * column + np.float32((height - 1) / 2)).astype(np.int32)
        columns = np.rint(matrix[2] * row + matrix[3] * column + np.float32((width - 1) / 2)).astype(np.int32)
        flat = _mirrored(rows, height) * width + _mirrored(columns, width)
        view[...] = image.reshape(-1, channels).take(flat, axis=0)
    return out


OPERATIONS: dict[str, Callable[[Images, Strengths], Images]] = {
    "autocontrast": autocontrast,
    "brightness": brightness,
    "contrast": contrast,
    "posterise": posterise,
    "solarise": solarise,
    "saturation": saturation,
    "rotate": rotate,
    "shear_rows": shear_rows,
    "shear_columns": shear_columns,
}
"""Each takes images uint8 (batch, height, width, channels) and strengths (batch,) in -1..1, whose sign counts where
there are two directions, and returns images of the same shape."""
