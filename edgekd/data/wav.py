"""One WAV file: reading it with numpy alone, and bringing it to the model's sample rate and length.

The layout is that of Microsoft's and IBM's "Multimedia Programming Interface and Data Specifications 1.0" (1991), with
WAVE_FORMAT_IEEE_FLOAT and WAVE_FORMAT_EXTENSIBLE as Microsoft's mmreg.h has them.
"""

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

SUFFIXES = frozenset({".wav", ".wave"})
PCM, IEEE_FLOAT, EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
MOST_CHANNELS = 32
MOST_BYTES = 512 << 20
"""Of samples in one file: 50 minutes of CD sound. A recording that long should be cut into samples first."""
MOST_CHUNKS = 256
RATES = range(100, 384_001)
FINEST_RATIO = 1000
"""Largest denominator of a ratio of rates, which bounds the filter; it is off by less than one in a million."""
FILTER_REACH = 10
"""Of scipy's filter to each side, in samples of the lower rate."""

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Header:
    """What a file says of itself; `rate` is in Hz, `frames` are samples per channel, `start` is where they begin."""

    coding: Literal["integer", "float"]
    width: int
    """Bytes of one sample of one channel."""
    channels: int
    rate: int
    frames: int
    start: int

    @property
    def seconds(self) -> float:
        """How long it sounds."""
        return self.frames / self.rate


@dataclass(frozen=True)
class Sound:
    """A mono waveform, float32 (frames,); full scale of whole numbers is -1..1. `rate` is in Hz."""

    samples: Samples
    rate: int


def open_wav(path: Path) -> Sound:
    """Decode a file and mix its channels to their mean. Raises ValueError or OSError for what is no sound WAV."""
    with path.open("rb") as file:
        header = _header(file)
        file.seek(header.start)
        content = file.read(header.frames * header.channels * header.width)
    samples = _decoded(content, header).reshape(header.frames, header.channels)
    mono = samples[:, 0] if header.channels == 1 else samples.mean(axis=1, dtype=np.float64).astype(np.float32)
    if not np.isfinite(mono).all():
        raise ValueError("it holds NaN or infinite samples")
    return Sound(mono, header.rate)


def look_at_wav(path: Path) -> Header:
    """Read a file's header alone. Raises ValueError or OSError as `open_wav`."""
    with path.open("rb") as file:
        return _header(file)


def fit_sound(sound: Sound, *, rate: int, samples: int) -> Samples:
    """Bring a sound to `rate` Hz and `samples` samples: the middle of a longer one, zeros around a shorter one.

    float32 (samples,). Other rates are resampled by a polyphase filter (scipy's, with its Kaiser window).
    """
    values = sound.samples
    if sound.rate != rate:
        ratio = Fraction(rate, sound.rate).limit_denominator(FINEST_RATIO)
        total = math.ceil(len(values) * ratio)
        values = _resampled(values, ratio, max(0, (total - samples) // 2), samples)
    spare = len(values) - samples
    if spare >= 0:
        return np.ascontiguousarray(values[spare // 2 : spare // 2 + samples])
    return np.pad(values, (-spare // 2, -spare - -spare // 2))


def _resampled(values: Samples, ratio: Fraction, start: int, count: int) -> Samples:
    """`count` samples from `start` on of all that resampling by `ratio` gives, or as many as there are.

    Only what these are made from is resampled, or a small file at a low rate would fill the memory.
    """
    up, down = ratio.numerator, ratio.denominator
    reach = FILTER_REACH * max(up, down) // up + 1
    first = max(0, math.floor(start / ratio) - reach) // down * down  # whole steps, so that the grid stays
    last = math.ceil((start + count) / ratio) + reach
    found: Samples = resample_poly(values[first:last], up, down).astype(np.float32)
    start -= first // down * up
    return found[start : start + count]


def _header(file: BinaryIO) -> Header:
    size = file.seek(0, 2)
    file.seek(0)
    riff, _, kind = struct.unpack("<4sI4s", _exactly(file, 12))
    if riff != b"RIFF" or kind != b"WAVE":
        raise ValueError("it does not begin as a RIFF WAVE file")
    layout: tuple[int, int, int, int] | None = None
    for _ in range(MOST_CHUNKS):
        name, length = struct.unpack("<4sI", _exactly(file, 8))
        start = file.tell()
        if name == b"fmt ":
            layout = _layout(_exactly(file, min(length, 40)))
        if name == b"data":
            if layout is None:
                raise ValueError("its samples come before their format")
            return _checked(layout, start, length, size)
        file.seek(start + length + length % 2)
    raise ValueError("it has no data chunk")


def _layout(content: bytes) -> tuple[int, int, int, int]:
    """(format, channels, rate, bytes of a sample)."""
    if len(content) < 16:
        raise ValueError("its format chunk is too short")
    form, channels, rate, _, align, bits = struct.unpack("<HHIIHH", content[:16])
    if form == EXTENSIBLE and len(content) == 40:
        form = struct.unpack("<H", content[24:26])[0]  # the GUID begins with the format that it stands for
    width = align // channels if channels else 0
    if not 1 <= channels <= MOST_CHANNELS:
        raise ValueError(f"it has {channels} channels; 1 to {MOST_CHANNELS} are read")
    if rate not in RATES:
        raise ValueError(f"its sample rate is {rate} Hz; {RATES[0]} to {RATES[-1]} Hz are read")
    if align != channels * width or width not in WIDTHS.get(form, ()) or not 8 * (width - 1) < bits <= 8 * width:
        raise ValueError(f"its format {form} with {bits} bits is not read; save PCM of 8 to 32 bits, or floats")
    return form, channels, rate, width


def _checked(layout: tuple[int, int, int, int], start: int, length: int, size: int) -> Header:
    form, channels, rate, width = layout
    if start + length > size:
        raise ValueError(f"it ends after {max(0, size - start)} of {length} bytes of samples")
    if length > MOST_BYTES:
        raise ValueError(f"it holds {length >> 20} MiB of samples, more than {MOST_BYTES >> 20}; cut it into parts")
    frames = length // (channels * width)
    if not frames:
        raise ValueError("it holds no samples")
    return Header("float" if form == IEEE_FLOAT else "integer", width, channels, rate, frames, start)


def _decoded(content: bytes, header: Header) -> Samples:
    if header.coding == "float":
        return np.asarray(np.frombuffer(content, f"<f{header.width}"), np.float32)
    if header.width == 1:  # the only unsigned one
        return np.asarray((np.frombuffer(content, np.uint8).astype(np.float32) - 128) / 128, np.float32)
    if header.width == 3:
        wide = np.zeros((len(content) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        return np.asarray(wide.reshape(-1).view("<i4") / 2.0**31, np.float32)
    whole = np.asarray(np.frombuffer(content, f"<i{header.width}"), np.float32)
    return np.asarray(whole / 2 ** (8 * header.width - 1), np.float32)


def _exactly(file: BinaryIO, count: int) -> bytes:
    content = file.read(count)
    if len(content) < count:
        raise ValueError("it ends in the middle of its header")
    return content


WIDTHS = {PCM: (1, 2, 3, 4), IEEE_FLOAT: (4, 8)}
"""Bytes of a sample by format."""
