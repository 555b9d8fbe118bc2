"""WAV files: every coding that is read against the numbers that were written, and what is refused."""

import struct
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import resample_poly

from edgekd.data.wav import Sound, fit_sound, look_at_wav, open_wav

GUID = bytes.fromhex("000000001000800000aa00389b71")
"""What follows the format's two bytes in every GUID of WAVE_FORMAT_EXTENSIBLE."""


def riff(
    content: bytes,
    *,
    form: int = 1,
    channels: int = 1,
    rate: int = 8000,
    bits: int = 16,
    width: int | None = None,
    size: int | None = None,
    before: bytes = b"",
    extensible: bool = False,
) -> bytes:
    """A WAV file around `content`; `size` is what its data chunk claims."""
    align = channels * (width or bits // 8)
    layout = struct.pack("<HHIIHH", 0xFFFE if extensible else form, channels, rate, rate * align, align, bits)
    layout += struct.pack("<HHIH", 22, bits, 0, form) + GUID if extensible else b""
    claimed = len(content) if size is None else size
    chunks = b"fmt " + struct.pack("<I", len(layout)) + layout + before + b"data" + struct.pack("<I", claimed) + content
    return b"RIFF" + struct.pack("<I", (4 + len(chunks)) & 0xFFFFFFFF) + b"WAVE" + chunks


def written(folder: Path, content: bytes) -> Path:
    path = folder / "sound.wav"
    path.write_bytes(content)
    return path


def three_bytes(values: list[int]) -> bytes:
    return b"".join(struct.pack("<i", value)[:3] for value in values)


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(
    ("bits", "form", "content"),
    [
        (8, 1, bytes([128, 192, 0, 255])),
        (16, 1, np.array([0, 16384, -32768, 32512], "<i2").tobytes()),
        (24, 1, three_bytes([0, 1 << 22, -(1 << 23), 127 << 16])),
        (32, 1, np.array([0, 1 << 30, -(1 << 31), 127 << 24], "<i4").tobytes()),
        (32, 3, np.array([0, 0.5, -1, 127 / 128], "<f4").tobytes()),
        (64, 3, np.array([0, 0.5, -1, 127 / 128], "<f8").tobytes()),
    ],
)
def test_every_coding_gives_the_same_numbers(tmp_path, bits, form, content, extensible):
    path = written(tmp_path, riff(content, bits=bits, form=form, rate=11025, extensible=extensible))
    expected = [0, 0.5, -1, 127 / 128] if bits != 16 else [0, 0.5, -1, 32512 / 32768]
    sound = open_wav(path)
    assert sound.samples.dtype == np.float32 and sound.rate == 11025
    assert sound.samples.tolist() == expected
    assert look_at_wav(path).seconds == pytest.approx(4 / 11025)


def test_channels_are_mixed_to_their_mean(tmp_path):
    stereo = np.array([[0.5, -0.5], [1, 0.5], [0.25, 0.25]], "<f4").tobytes()
    assert open_wav(written(tmp_path, riff(stereo, bits=32, form=3, channels=2))).samples.tolist() == [0, 0.75, 0.25]


def test_other_chunks_are_passed_over_with_their_padding(tmp_path):
    odd = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    assert open_wav(written(tmp_path, riff(b"\0\x40", before=odd))).samples.tolist() == [0.5]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "in the middle of its header"),
        (b"RIFF\x04\0\0\0WAVEfmt ", "in the middle of its header"),
        (b"OggS" + bytes(40), "does not begin as a RIFF WAVE"),
        (riff(b""), "no samples"),
        (riff(b"\0" * 6, size=100), "ends after 6 of 100 bytes"),
        (riff(b"\0" * 6, size=2 << 30), "ends after 6 of 2147483648 bytes"),
        (riff(b"\0" * 128, channels=64), "64 channels"),
        (riff(b"\0" * 4, channels=0, width=2), "0 channels"),
        (riff(b"\0" * 4, rate=0), "rate is 0 Hz"),
        (riff(b"\0" * 4, rate=2_000_000_000), "rate is 2000000000 Hz"),
        (riff(b"\0" * 4, form=6, bits=8), "format 6"),
        (riff(b"\0" * 4, bits=16, width=4), "16 bits is not read"),
        (riff(np.array([0, np.nan], "<f4").tobytes(), form=3, bits=32), "NaN"),
        (riff(np.array([np.inf], "<f4").tobytes(), form=3, bits=32), "infinite"),
        (b"RIFF\0\0\0\0WAVEdata\x02\0\0\0\0\0", "before their format"),
        (b"RIFF\0\0\0\0WAVE" + b"LIST\0\0\0\0" * 300, "no data chunk"),
    ],
)
def test_what_is_no_sound_is_refused(tmp_path, content, reason):
    with pytest.raises(ValueError, match=reason):
        open_wav(written(tmp_path, content))


def test_a_long_sound_keeps_its_middle_and_a_short_one_gets_zeros_around():
    ramp = np.arange(10, dtype=np.float32)
    assert fit_sound(Sound(ramp, 8000), rate=8000, samples=4).tolist() == [3, 4, 5, 6]
    assert fit_sound(Sound(ramp[:3], 8000), rate=8000, samples=6).tolist() == [0, 0, 1, 2, 0, 0]
    assert fit_sound(Sound(ramp, 8000), rate=8000, samples=10).tolist() == ramp.tolist()


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 44099])
def test_a_resampled_tone_is_the_tone_at_the_new_rate(rate):
    def tone(at: int) -> np.ndarray:
        return np.sin(2 * np.pi * 440 * np.arange(at) / at).astype(np.float32)

    fitted = fit_sound(Sound(tone(rate), rate), rate=16000, samples=16000)
    assert fitted.shape == (16000,) and fitted.dtype == np.float32
    assert np.abs(fitted - tone(16000))[200:-200].max() < 0.01


@pytest.mark.parametrize(("rate", "wanted", "samples"), [(44100, 16000, 4000), (8000, 11025, 9000), (22050, 8000, 100)])
def test_what_is_cut_away_is_not_resampled(rate: int, wanted: int, samples: int) -> None:
    values = np.random.default_rng(0).standard_normal(50_000).astype(np.float32)
    ratio = Fraction(wanted, rate).limit_denominator(1000)
    whole = resample_poly(values, ratio.numerator, ratio.denominator).astype(np.float32)
    start = (len(whole) - samples) // 2
    found = fit_sound(Sound(values, rate), rate=wanted, samples=samples)
    assert np.array_equal(found, whole[start : start + samples])


def test_a_small_file_of_a_low_rate_does_not_fill_the_memory() -> None:
    sound = Sound(np.zeros(20_000_000, np.float32), 100)
    tracemalloc.start()
    assert fit_sound(sound, rate=48_000, samples=4800).shape == (4800,)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
