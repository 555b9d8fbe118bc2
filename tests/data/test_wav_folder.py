"""Folders of WAV files: how they are told from images, at which rate and length they are written, what is skipped."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest

from edgekd.data.materialise import materialise
from edgekd.data.peek import peek
from edgekd.data.readers import kind_of
from edgekd.data.split import open_split
from edgekd.errors import BadInput, UsageError
from edgekd.input_options import resolve_preprocessing
from edgekd.preprocessing import Preprocessing


def write_wav(path: Path, samples: np.ndarray, rate: int = 8000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).round().astype("<i2").tobytes())


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """hum/ with 30 and noise/ with 30 sounds of 0.05 s to 0.1 s at 8 kHz, all different."""
    rng, root = np.random.default_rng(0), tmp_path / "sounds"
    for at in range(30):
        time = np.arange(400 + 10 * at) / 8000
        write_wav(root / "hum" / f"{at}.wav", 0.5 * np.sin(2 * np.pi * (100 + at) * time))
        write_wav(root / "noise" / f"{at}.WAV", rng.uniform(-0.5, 0.5, len(time)))
    return root


def settle(root: Path, shape: tuple[int | None, ...] | None = None, **options: object) -> Preprocessing:
    return resolve_preprocessing(options, metadata={}, timm_config={}, facts=peek(str(root)), input_shape=shape)


def test_a_folder_is_one_of_sounds_where_it_holds_wavs_and_no_images(sounds, class_folders):
    assert kind_of(str(sounds)) == "wav folder" and kind_of(str(class_folders)) == "image folder"
    write_wav(class_folders / "cat" / "purr.wav", np.zeros(10))
    assert kind_of(str(class_folders)) == "image folder"


def test_rate_and_length_are_the_datas_unless_said(sounds):
    facts = peek(str(sounds))
    assert (facts.classes, facts.labels, facts.sample_rate, facts.input_shape) == (
        ("hum", "noise"),
        "classes",
        8000,
        None,
    )
    own = settle(sounds)
    # 60 sounds of 400, 400, 410, 410, ... 690, 690 samples: 57 of them, 95 %, are no longer than 680.
    assert own.shape == (680,) and own.sample_rate == 8000 and own.identity
    assert "95 %" in own.origin["input_shape"] and own.origin["sample_rate"] == "the data"
    asked = settle(sounds, sample_rate=16000, duration="50ms")
    assert asked.shape == (800,) and asked.origin["input_shape"] == asked.origin["sample_rate"] == "option"
    assert settle(sounds, (None, 500)).shape == (500,)
    assert settle(sounds, (None, 1, 500)).shape == (1, 500)


def test_a_few_hours_do_not_make_all_inputs_hours_long(tmp_path):
    for at in range(3):
        write_wav(tmp_path / f"{at}.wav", np.zeros(11 * 1000), rate=1000)
    how = settle(tmp_path)
    assert how.shape == (10 * 1000,) and "last up to 11.0 s, cut to 10 s" in how.origin["input_shape"]


@pytest.mark.parametrize(
    ("shape", "options", "error", "match"),
    [
        ((None, 3, 32, 32), {}, BadInput, "the model takes .batch, 3, 32, 32.*--front log_mel"),
        ((None, 40, 101), {}, BadInput, "log-mel frames"),
        ((None, 500), {"duration": "1s"}, UsageError, "8000 samples at 8000 Hz, but the model takes 500"),
        (None, {"duration": "soon"}, UsageError, "'soon' is no length of a sound"),
        (None, {"duration": "0s"}, UsageError, "'0s' is no length of a sound"),
        (None, {"duration": "9999999s"}, UsageError, "give another --duration"),
        (None, {"mean": "0.5"}, UsageError, "--mean has no meaning for sounds"),
    ],
)
def test_what_does_not_go_together_is_refused(sounds, shape, options, error, match):
    with pytest.raises(error, match=match):
        settle(sounds, shape, **options)


def test_images_have_no_duration(class_folders):
    with pytest.raises(UsageError, match="--duration has no meaning"):
        settle(class_folders, duration="1s")


def test_sounds_are_written_as_waveforms(sounds, tmp_path):
    write_wav(sounds / "hum" / "other.wav", np.full(4000, 0.25), rate=44100)
    how = settle(sounds)
    manifest = materialise(str(sounds), tmp_path / "data", how)
    train = open_split(tmp_path / "data", "train")
    assert manifest.kind == "wav folder" and manifest.dtype == "float32" and manifest.shape == (680,)
    assert train.inputs.dtype == np.float32 and train.inputs.shape[1:] == (680,) and set(train.labels) == {0, 1}
    assert np.abs(train.inputs).max() <= 0.5001 and sum(manifest.counts.values()) == 61
    assert manifest.notes == ("1 of 61 WAV files were resampled to 8000 Hz",)
    told = json.loads(how.as_json())
    assert (told["sample_rate"], told["input_shape"], told["dtype"]) == (8000, [680], "float32")


def test_a_channel_axis_is_kept(sounds, tmp_path):
    materialise(str(sounds), tmp_path / "data", settle(sounds, (None, 1, 500)))
    assert open_split(tmp_path / "data", "train").inputs.shape[1:] == (1, 500)


def test_few_broken_files_are_skipped_and_named_and_many_are_refused(sounds, tmp_path):
    how = settle(sounds)
    (sounds / "hum" / "broken.wav").write_bytes(b"RIFF")
    manifest = materialise(str(sounds), tmp_path / "data", how, max_skipped=0.05)
    assert manifest.skipped == 1 and "broken.wav" in manifest.skipped_examples[0]
    assert "1 of 61 WAV files were skipped because they do not decode" in manifest.notes[0]
    for at in range(5):
        (sounds / "hum" / f"broken{at}.wav").write_bytes(b"RIFF")
    with pytest.raises(BadInput, match=r"of 66 WAV files cannot be used.*broken.*in the middle of its header"):
        materialise(str(sounds), tmp_path / "again", how, max_skipped=0.01)


def test_nothing_that_decodes_is_refused_before_anything_else(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.wav").write_text("no sound")
    with pytest.raises(BadInput, match=r"none of the 1 WAV files decodes.*give WAV files"):
        peek(str(tmp_path))


def test_waveforms_in_arrays_may_say_their_rate(tmp_path):
    np.savez(tmp_path / "x.npz", x_train=np.zeros((20, 50), np.float32))
    assert settle(tmp_path / "x.npz", sample_rate=4000).sample_rate == 4000
    with pytest.raises(UsageError, match="--duration has no meaning for data that already are"):
        settle(tmp_path / "x.npz", duration="1s")


def test_unlabelled_sounds_are_brought_to_the_length_of_the_labelled_ones(sounds, tmp_path):
    (root := tmp_path / "mixed").mkdir()
    sounds.rename(root / "train")
    for at in range(3):
        write_wav(root / "unlabelled" / f"{at}.wav", np.full(2000, 0.1 * (at + 1)), rate=16000)
    assert peek(str(root)).sample_rate == 8000 and settle(root).shape == (680,)
    manifest = materialise(str(root), tmp_path / "out", settle(root))
    train = open_split(tmp_path / "out", "train")
    assert (manifest.unlabelled, len(train.labels), len(train)) == (3, 48, 51)
    assert np.sort(train.inputs[-3:, 340]) == pytest.approx([0.1, 0.2, 0.3], abs=0.01)
