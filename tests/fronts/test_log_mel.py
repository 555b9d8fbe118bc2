"""Log-mel frames against a reference in float64: numpy's FFT of windowed pieces, and triangles drawn band by band."""

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edgekd.errors import UsageError
from edgekd.exporting.onnx_export import check_export, export_onnx
from edgekd.fronts.log_mel import log_mel
from edgekd.fronts.place import Place

RATE, SAMPLES = 8000, 3000


def mel_of(hertz: float, scale: str) -> float:
    if scale == "htk":
        return 1127.01048 * math.log(1 + hertz / 700)
    return hertz / (200 / 3) if hertz < 1000 else 15 + math.log(hertz / 1000) / (math.log(6.4) / 27)


def hertz_of(mel: float, scale: str) -> float:
    """By bisection, so that it is no second formula that could be wrong in the same way."""
    low, high = 0.0, 1e5
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if mel_of(middle, scale) < mel else (low, middle)
    return low


def triangle(frequency: float, left: float, peak: float, right: float, scale: str) -> float:
    if not left < frequency < right:
        return 0.0
    height = 2 / (right - left) if scale == "slaney" else 1.0
    return height * ((frequency - left) / (peak - left) if frequency <= peak else (right - frequency) / (right - peak))


def reference(
    waveform: np.ndarray,
    bands: int,
    *,
    window: int,
    n_fft: int,
    hop: int,
    center: bool,
    mel: str,
    log: str,
    floor: float,
    low: float = 0.0,
    high: float = RATE / 2,
) -> np.ndarray:
    signal = waveform.astype(np.float64)
    signal = np.pad(signal, n_fft // 2, mode="reflect") if center else signal
    taper = np.zeros(n_fft)
    start = (n_fft - window) // 2
    taper[start : start + window] = [math.sin(math.pi * at / window) ** 2 for at in range(window)]
    pieces = [signal[at : at + n_fft] * taper for at in range(0, len(signal) - n_fft + 1, hop)]
    power = np.stack([np.abs(np.fft.rfft(piece)) ** 2 for piece in pieces])
    even = np.linspace(mel_of(low, mel), mel_of(high, mel), bands + 2)
    corners = [hertz_of(one, mel) for one in even]
    rows = [
        [triangle(k * RATE / n_fft, *corners[band : band + 3], mel) for k in range(n_fft // 2 + 1)]
        for band in range(bands)
    ]
    pooled = np.maximum(np.array(rows) @ power.T, floor)
    return {"ln": np.log(pooled), "log10": np.log10(pooled), "db": 10 * np.log10(pooled)}[log]


def waveforms(count: int = 2) -> np.ndarray:
    """Tones over a little noise, with a silent end."""
    rng, time = np.random.default_rng(0), np.arange(SAMPLES) / RATE
    sounds = [
        0.4 * np.sin(2 * np.pi * (300 + 500 * at) * time) + 0.01 * rng.standard_normal(SAMPLES) for at in range(count)
    ]
    sounds = np.array(sounds, np.float32)
    sounds[:, -800:] = 0
    return sounds


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("mel", ["htk", "slaney"])
@pytest.mark.parametrize(
    ("window", "n_fft", "hop", "log"),
    [(200, 256, 80, "ln"), (256, 256, 128, "log10"), (199, 256, 80, "db"), (150, 255, 60, "ln")],
)
def test_frames_agree_with_the_reference(center, mel, window, n_fft, hop, log):
    settings = {"window": window, "n_fft": n_fft, "hop": hop, "center": center, "mel": mel, "log": log, "floor": 1e-6}
    front = log_mel(Place((SAMPLES,), RATE), 20, **settings)
    sounds = waveforms()
    frames = front(torch.from_numpy(sounds)).numpy()
    expected = np.stack([reference(one, 20, **settings) for one in sounds])
    assert frames.shape == expected.shape and frames.dtype == np.float32
    # 2e-3 of a natural logarithm is 0.2 % of a power, at the very floor; louder bands are far closer.
    scale = {"ln": 1.0, "log10": 1 / math.log(10), "db": 10 / math.log(10)}[log]
    assert np.abs(frames - expected).max() < 2e-3 * scale


def test_defaults_are_25_and_10_ms_and_bands_may_be_limited():
    front = log_mel(Place((SAMPLES,), RATE), 12, low=200, high=3000)
    assert (front.kernels.shape[-1], front.n_fft, front.hop) == (200, 256, 80)
    sound = waveforms(1)
    usual = {"window": 200, "n_fft": 256, "hop": 80, "center": True, "mel": "htk", "log": "ln", "floor": 1e-6}
    expected = reference(sound[0], 12, **usual, low=200, high=3000)
    assert np.abs(front(torch.from_numpy(sound))[0].numpy() - expected).max() < 2e-3
    wide = log_mel(Place((SAMPLES,), RATE), 12)
    assert len(front.kernels) < len(wide.kernels)  # frequencies outside are not computed


def test_torchs_own_transform_has_the_same_powers():
    front = log_mel(Place((SAMPLES,), RATE), 20, window=200, n_fft=256, hop=80)
    sound = torch.from_numpy(waveforms(1))
    spectrum = torch.stft(sound, 256, 80, 200, torch.hann_window(200), return_complex=True).abs() ** 2
    half = front.weights[:, : front.weights.shape[1] // 2]
    bins = half.shape[1]
    pooled = torch.einsum("bk,nkt->nbt", half, spectrum[:, 1 : 1 + bins])  # 0 Hz is the corner of a triangle
    assert torch.allclose(front(sound), pooled.clamp(min=1e-6).log(), atol=2e-3)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("frames", [1, 7, 98])
def test_so_many_samples_give_so_many_frames_and_one_less_does_not(center, frames):
    front = log_mel(Place((SAMPLES,), RATE), 10, center=center)
    assert front.frames(front.samples(frames)) == frames
    assert front.frames(front.samples(frames) - 1) < frames


def test_nothing_in_it_learns_or_is_saved():
    front = log_mel(Place((SAMPLES,), RATE), 10)
    assert not list(front.parameters()) and not front.state_dict()


@pytest.mark.parametrize("opset", [17, 20])
def test_the_exported_graph_is_of_plain_products(tmp_path: Path, opset):
    front = log_mel(Place((SAMPLES,), RATE), 10).eval()
    example = torch.from_numpy(waveforms(1))
    exported = export_onnx(front, example, tmp_path / "front.onnx", max_opset=opset, max_ir=9, output="output")
    parity = check_export(front, tmp_path / "front.onnx", waveforms(8), exported.outputs)
    assert parity[0].sqnr_db > 100
    operators = {node.op_type for node in onnx.load(tmp_path / "front.onnx").graph.node}
    assert operators <= {"Unsqueeze", "Pad", "Conv", "Slice", "Mul", "MatMul", "Clip", "Log"}


@pytest.mark.parametrize(
    ("place", "settings", "match"),
    [
        (Place((3, 32, 32)), {}, "takes waveforms"),
        (Place((SAMPLES,)), {}, "--sample-rate"),
        (Place((100,), RATE), {}, "130 samples.*a sound has 100"),
        (Place((SAMPLES,), RATE), {"n_fft": 64}, "shorter than its window"),
        (Place((SAMPLES,), RATE), {"high": 5000.0}, "0 and 4000 Hz"),
        (Place((SAMPLES,), RATE), {"low": 3000.0, "high": 2000.0}, "3000 to 2000 Hz"),
        (Place((SAMPLES,), RATE), {"window": 16, "n_fft": 16, "hop": 16}, "holds no frequency"),
    ],
)
def test_settings_that_do_not_fit_are_refused(place, settings, match):
    with pytest.raises(UsageError, match=match):
        log_mel(place, 20, **settings)
