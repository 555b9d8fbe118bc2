"""One image: decoding it safely, and bringing it to the model's size and number of channels."""

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
# Only these decoders ever see a stranger's file: EPS, for one, would start Ghostscript.
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L"})
ORIENTATION = 0x0112
QUARTER_TURNS = (5, 6, 7, 8)
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
# What Pillow and its decoders raise on broken, truncated or oversized files.
DECODE_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    IndexError,
    KeyError,
    OverflowError,
    EOFError,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class Fit:
    """The size, channels and way of resizing that every image of a data set is brought to."""

    height: int
    width: int
    channels: int
    resize: Literal["bilinear", "bicubic"] = "bilinear"
    crop: float | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of one stored image."""
        return (self.height, self.width, self.channels)


def open_image(file: Path | IO[bytes]) -> Image.Image:
    """Decode the first frame and turn it upright as its EXIF orientation says. Raises one of `DECODE_ERRORS`."""
    with Image.open(file, formats=FORMATS) as image:
        image.load()
        return ImageOps.exif_transpose(image)


def look_at(file: Path | IO[bytes]) -> tuple[int, int, int]:
    """Read (height, width, channels) of the upright image from the header alone. Raises one of `DECODE_ERRORS`."""
    with Image.open(file, formats=FORMATS) as image:
        width, height = image.size
        if image.getexif().get(ORIENTATION) in QUARTER_TURNS:
            width, height = height, width
        return height, width, 1 if image.mode in GREY_MODES else 3


def fit_image(image: Any, fit: Fit) -> npt.NDArray[np.uint8]:
    """Bring a Pillow image or a uint8 array (height, width[, channels]) to `fit`: uint8 (height, width, channels).

    An image that already has the size keeps its pixels bit for bit. Raises ValueError where the channels cannot be
    brought to the wanted number.
    """
    pixels = _channels(_pixels(image, fit.channels), fit.channels)
    if pixels.shape[:2] == (fit.height, fit.width):
        return np.ascontiguousarray(pixels)
    if pixels.shape[2] == 3:
        return np.asarray(_resized(Image.fromarray(pixels), fit))
    # Plane by plane: Pillow would take a fourth channel for transparency and multiply the others by it.
    planes = [np.asarray(_resized(Image.fromarray(plane), fit)) for plane in np.moveaxis(pixels, 2, 0)]
    return np.stack(planes, axis=2)


def _pixels(image: Any, channels: int) -> npt.NDArray[np.uint8]:
    if not isinstance(image, Image.Image):
        array = np.asarray(image)
        return array[:, :, None] if array.ndim == 2 else array
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode.startswith("I"):
        # Sixteen bits to eight; Pillow's own conversion would clip everything above 255 to white.
        deep = np.asarray(image).astype(np.int64)
        if deep.size and (deep.min() < 0 or deep.max() > 65535):
            raise ValueError("pixels lie outside 16 bits")
        return ((deep + 128) // 257).astype(np.uint8)[:, :, None]
    array = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return array[:, :, None] if array.ndim == 2 else array


def _channels(pixels: npt.NDArray[np.uint8], channels: int) -> npt.NDArray[np.uint8]:
    have = pixels.shape[2]
    if have == channels:
        return pixels
    if have == 1:
        return np.repeat(pixels, channels, axis=2)
    if have == 3 and channels == 1:
        return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))[:, :, None]
    raise ValueError(f"{have} channels cannot become the model's {channels}")


def _resized(image: Image.Image, fit: Fit) -> Image.Image:
    """Resize, antialiased; with a crop as torchvision's evaluation transforms do: short side first, then the centre."""
    method = FILTERS[fit.resize]
    if fit.crop is None:
        return image.resize((fit.width, fit.height), method)
    width, height = covering(image.size, (round(fit.width / fit.crop), round(fit.height / fit.crop)))
    top, left = round((height - fit.height) / 2), round((width - fit.width) / 2)
    return image.resize((width, height), method).crop((left, top, left + fit.width, top + fit.height))


def covering(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of an image of `size`, its proportions kept, made just large enough to cover `box`."""
    (width, height), (box_width, box_height) = size, box
    if width * box_height <= height * box_width:
        return box_width, max(box_height, int(box_width * height / width))
    return max(box_width, int(box_height * width / height)), box_height
