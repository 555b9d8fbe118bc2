"""Waveforms to log-mel frames by plain products, which every exporter, runtime and device has.

The short-time Fourier transform is a strided convolution with the windowed cosines and sines, as `torch.stft` computes
it: a periodic Hann window, frames around their centres with the ends mirrored. Its power is pooled over triangles that
are even on the mel scale, and the logarithm taken above a floor. Conventions are torchaudio's by default (HTK's scale,
triangles of height 1); `mel=slaney` is librosa's default (Slaney's scale, triangles of area 1).
"""

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from edgekd.errors import UsageError
from edgekd.fronts.place import Place

WINDOW_SECONDS, HOP_SECONDS = 0.025, 0.010
"""The usual ones of speech recognition: 25 ms of sound every 10 ms."""
FLOOR = 1e-6
Mel = Literal["htk", "slaney"]
Log = Literal["ln", "log10", "db"]
Count = Annotated[int, Field(ge=1, le=65536)]
SCALES: dict[Log, float] = {"ln": 1.0, "log10": 1 / np.log(10), "db": 10 / np.log(10)}
Array = npt.NDArray[np.float64]


class LogMel(nn.Module):
    """(batch, samples) to (batch, bands, frames), float32.

    `kernels` (2 x bins, 1, window) holds the cosines and then the sines, of those bins only that a triangle covers, and
    `weights` (bands, 2 x bins) the triangles twice, so that one product both adds the squares and pools them. Both are
    computed anew from the settings and not saved.
    """

    kernels: Tensor
    weights: Tensor

    def __init__(self, kernels: Array, weights: Array, *, n_fft: int, hop: int, center: bool, log: Log, floor: float):
        super().__init__()
        self.n_fft, self.hop, self.center, self.log, self.floor = n_fft, hop, center, log, floor
        self.skipped = (n_fft - kernels.shape[-1]) // 2
        """Samples at the beginning of each frame on which the window is zero."""
        self.register_buffer("kernels", torch.from_numpy(kernels).float(), persistent=False)
        self.register_buffer("weights", torch.from_numpy(weights).float(), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        frames = self.frames(waveforms.shape[-1])
        signal = waveforms.unsqueeze(1)
        if self.center:
            margin = self.n_fft // 2 - self.skipped
            signal = F.pad(signal, (margin, margin + 1), mode="reflect")
        else:
            signal = signal[..., self.skipped :]
        spectrum = F.conv1d(signal, self.kernels, stride=self.hop)[..., :frames]
        pooled = torch.matmul(self.weights, spectrum * spectrum)
        return pooled.clamp(min=self.floor).log() * SCALES[self.log]

    def frames(self, samples: int) -> int:
        """How many frames so many samples give."""
        return 1 + (samples + self._margins - self.n_fft) // self.hop

    def samples(self, frames: int) -> int:
        """The fewest samples that give so many frames."""
        return (frames - 1) * self.hop + self.n_fft - self._margins

    @property
    def _margins(self) -> int:
        return 2 * (self.n_fft // 2) * self.center

    def extra_repr(self) -> str:
        bands, window = len(self.weights), self.kernels.shape[-1]
        ends = f"center={self.center}, log={self.log}, floor={self.floor:g}"
        return f"{bands=}, {window=}, n_fft={self.n_fft}, hop={self.hop}, {ends}"


def log_mel(
    place: Place,
    bands: Count,
    *,
    window: Count | None = None,
    n_fft: Count | None = None,
    hop: Count | None = None,
    low: Annotated[float, Field(ge=0)] = 0.0,
    high: Annotated[float, Field(gt=0)] | None = None,
    mel: Mel = "htk",
    center: bool = True,
    log: Log = "ln",
    floor: Annotated[float, Field(gt=0, le=1)] = FLOOR,
) -> LogMel:
    """Build the front for waveforms (samples,).

    Args:
        bands: triangles between `low` and `high` Hz (half the sample rate).
        window, hop: samples of a frame, and between frames; 25 and 10 ms.
        n_fft: length of the transform, at least `window`; the next power of two.
        center: whether frame t is around sample t x hop, the ends mirrored, or begins there.
        log: natural, to base 10, or decibels (10 log10).
        floor: the least power of which the logarithm is taken.

    Raises UsageError where the sample rate is not known, or a setting does not fit it or the waveforms.
    """
    rate = _checked_rate(place)
    window = window or round(WINDOW_SECONDS * rate)
    n_fft = n_fft or 1 << (window - 1).bit_length()
    hop = hop or round(HOP_SECONDS * rate)
    high = rate / 2 if high is None else high
    if n_fft < window:
        raise UsageError(f"log_mel's n_fft={n_fft} is shorter than its window of {window} samples; make it longer")
    if not low < high <= rate / 2:
        raise UsageError(f"log_mel's bands from {low:g} to {high:g} Hz do not lie between 0 and {rate / 2:g} Hz")
    shortest = n_fft // 2 + 2 if center else n_fft
    if place.shape[0] < shortest:
        raise UsageError(
            f"log_mel needs {shortest} samples for n_fft={n_fft}, and a sound has {place.shape[0]}; give a longer "
            "--duration or a shorter window"
        )
    triangles = mel_triangles(bands, rate=rate, n_fft=n_fft, low=low, high=high, mel=mel)
    used = np.flatnonzero(triangles.any(axis=0))
    kernels = _kernels(window, n_fft, used)
    weights = np.tile(triangles[:, used], (1, 2))
    return LogMel(kernels, weights, n_fft=n_fft, hop=hop, center=center, log=log, floor=floor)


def mel_triangles(bands: int, *, rate: int, n_fft: int, low: float, high: float, mel: Mel) -> Array:
    """Weights (bands, n_fft // 2 + 1) with which power at k x rate / n_fft Hz counts in each band.

    Corners are even on the mel scale: HTK's 2595 log10(1 + f / 700) with peaks of 1 (Young et al., The HTK Book 3.5,
    section 5.4), or Slaney's, linear to 1 kHz and logarithmic above, with areas of 1 Hz (Auditory Toolbox 2, 1998).
    Raises UsageError where a band is so narrow that no frequency falls into it.
    """
    to_mel, to_hertz = MEL_SCALES[mel]
    corners = to_hertz(np.linspace(to_mel(np.asarray(low)), to_mel(np.asarray(high)), bands + 2))
    frequencies = np.arange(n_fft // 2 + 1) * rate / n_fft
    rising = (frequencies - corners[:-2, None]) / np.diff(corners)[:-1, None]
    falling = (corners[2:, None] - frequencies) / np.diff(corners)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    empty = np.flatnonzero(~triangles.any(axis=1))
    if len(empty):
        raise UsageError(
            f"band {empty[0]} of log_mel's {bands} holds no frequency of a transform of {n_fft} samples; give fewer "
            "bands or a longer n_fft"
        )
    areas = (corners[2:] - corners[:-2])[:, None] / 2 if mel == "slaney" else 1.0
    return np.asarray(triangles / areas)


def _checked_rate(place: Place) -> int:
    if len(place.shape) != 1 or place.sample_rate is None:
        raise UsageError(
            f"log_mel takes waveforms (samples,) of a known rate, not inputs of {place.shape} at {place.sample_rate} "
            "Hz; give sounds, or arrays with --sample-rate"
        )
    return place.sample_rate


def _kernels(window: int, n_fft: int, bins: npt.NDArray[np.intp]) -> Array:
    """Cosines and sines (2 x bins, 1, window) at `bins` cycles in n_fft samples, under a periodic Hann window."""
    time = np.arange(window)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * time / window)
    angle = 2 * np.pi * (np.outer(bins, time) % n_fft) / n_fft
    return np.concatenate([hann * np.cos(angle), hann * np.sin(angle)])[:, None]


def _htk_to_mel(hertz: Array) -> Array:
    return np.asarray(2595 * np.log10(1 + hertz / 700))


def _htk_to_hertz(mel: Array) -> Array:
    return np.asarray(700 * (10 ** (mel / 2595) - 1))


def _slaney_to_mel(hertz: Array) -> Array:
    return np.where(hertz < 1000, hertz * 3 / 200, 15 + 27 * np.log(np.maximum(hertz, 1) / 1000) / np.log(6.4))


def _slaney_to_hertz(mel: Array) -> Array:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)))


MEL_SCALES: dict[Mel, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "htk": (_htk_to_mel, _htk_to_hertz),
    "slaney": (_slaney_to_mel, _slaney_to_hertz),
}
