"""What happens to an input between the data and the model, as a record and as numpy.

Images are scaled and ordered, sounds brought to one rate and length; anything else (token ids, tables, windows of
series) comes ready-made. The
same record is written into the artifact (`preprocess.json`), so that an app does what training did.
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import model_validator

from edgekd.record import Record

Dtype = Literal["float32", "int64"]


class Tokens(Record):
    """How text becomes the model's input. The file is in the artifact, and cuts and pads to `length` by itself."""

    file: str
    sha256: str
    length: int
    pad: int
    """Id of the token that fills up shorter texts."""
    pair: tuple[str, ...] = ()
    """Where the input is a pair of texts: what the first and the second are, by the names of their columns."""
    separator: int | None = None
    """Of pairs: id of the token that ends each text, where the tokenizer numbers the second's tokens 1."""

    def __str__(self) -> str:
        pair = f" of {self.pair[0]!r} and {self.pair[1]!r}" if self.pair else ""
        return f"{self.length} ids{pair} by {self.file}, padded with {self.pad}"


class Preprocessing(Record):
    """Decoded 8-bit image to model input, or ready-made inputs as they are. `origin` says where each setting came from.

    Images have height, width, channels, mean and std; ready-made inputs (`identity`) have `input_shape` and `dtype`.
    """

    height: int | None = None
    width: int | None = None
    channels: int | None = None
    order: Literal["rgb", "bgr"] = "rgb"
    scale: Literal["0..1", "0..255"] = "0..1"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    resize: Literal["bilinear", "bicubic"] = "bilinear"
    crop: float | None = None
    """Share of the resized short side that the centre crop keeps; None: resize straight to height x width."""
    identity: bool = False
    """True where the data already are model inputs (batch, ...); then nothing is done."""
    input_shape: tuple[int, ...] | None = None
    """Shape of one ready-made input, of any rank."""
    dtype: Dtype = "float32"
    """Type of the model's input; int64 for token ids and other indices."""
    sample_rate: int | None = None
    """Of waveforms (samples,), in Hz: sounds are mixed to one channel, resampled to it, and cut in the middle or padded
    with zeros around to `input_shape`."""
    tokens: Tokens | None = None
    """Of models of text."""
    columns: tuple[str, ...] = ()
    """Of models of a table's numbers: what each number of the input is."""
    origin: dict[str, str] = {}

    @model_validator(mode="after")
    def _has_a_shape(self) -> "Preprocessing":
        if self.input_shape is None and None in (self.height, self.width, self.channels):
            raise ValueError("height, width and channels are needed, or the input_shape of ready-made inputs")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one model input without the batch: (channels, height, width) of an image."""
        return self.input_shape or (self.channels or 0, self.height or 0, self.width or 0)

    def zeros(self, count: int) -> npt.NDArray[Any]:
        """Model inputs (count, *shape) of zeros, to try a model with."""
        return np.zeros((count, *self.shape), self.dtype)

    def as_json(self) -> str:
        """The record as the artifact holds it: of ready-made inputs nothing that only images have."""
        absent = {name for name in ("sample_rate", "tokens", "columns") if not getattr(self, name)}
        images_only = {"height", "width", "channels", "order", "scale", "mean", "std", "resize", "crop"}
        left_out = absent | (images_only if self.input_shape is not None else {"input_shape"})
        return self.model_dump_json(indent=1, exclude=left_out, by_alias=True)


def normalise(inputs: npt.NDArray[Any], how: Preprocessing) -> npt.NDArray[Any]:
    """Turn resized images uint8 (batch, height, width, channels) into float32 (batch, channels, height, width).

    Ready-made inputs (batch, ...) pass through unchanged, as `how.dtype`, when `how.identity` is set.
    """
    if how.identity:
        return inputs.astype(how.dtype, copy=False)
    ordered = inputs[..., ::-1] if how.order == "bgr" else inputs
    gain, shift = gain_and_shift(how)
    return np.ascontiguousarray((ordered.astype(np.float32) * gain + shift).transpose(0, 3, 1, 2))


def gain_and_shift(how: Preprocessing) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return what pixels are multiplied by, and what is added then, by channel of the model's input: float32 each."""
    unit = 255.0 if how.scale == "0..1" else 1.0
    mean, std = np.asarray(how.mean, np.float32), np.asarray(how.std, np.float32)
    return (1.0 / (unit * std)).astype(np.float32), (-mean / std).astype(np.float32)


def sample_inputs(count: int, shape: tuple[int, ...], dtype: Dtype) -> npt.NDArray[Any]:
    """Seeded inputs (count, *shape) where there are no data: noise, or the indices 0 and 1, which every table has."""
    rng = np.random.default_rng(0)
    if dtype == "int64":
        return rng.integers(0, 2, (count, *shape))
    return rng.standard_normal((count, *shape)).astype(np.float32)
