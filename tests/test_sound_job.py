"""Sounds through the whole job: a net trained on log-mel frames, WAV files in, a graph that takes waveforms out."""

import json
import re
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgekd.data.wav import fit_sound, open_wav
from edgekd.fronts.log_mel import log_mel
from edgekd.fronts.place import Place

pytestmark = pytest.mark.slow

RATE, SAMPLES, BANDS = 8000, 2000, 16
CLASSES = ("falling", "level", "rising")


def chirp(label: int, rng: np.random.Generator, length: int) -> np.ndarray:
    """A tone whose pitch falls, stays or rises, of any loudness, with noise."""
    time = np.arange(length) / RATE
    slope = (-4000, 0, 4000)[label]
    phase = 2 * np.pi * (rng.uniform(1200, 2000) * time + slope * time * (time - length / RATE) / 2)
    return 10 ** rng.uniform(-1.5, -0.1) * np.sin(phase) + 0.003 * rng.standard_normal(length)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """240 training and 60 test sounds as train/CLASS/*.wav and test/CLASS/*.wav, of 0.2 to 0.25 s."""
    rng, root = np.random.default_rng(3), tmp_path_factory.mktemp("chirps")
    for split, count in (("train", 240), ("test", 60)):
        for at in range(count):
            path = root / split / CLASSES[at % 3] / f"{at:03d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            values = np.clip(chirp(at % 3, rng, int(rng.integers(1600, SAMPLES + 1))), -1, 1)
            with wave.open(str(path), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(RATE)
                file.writeframes((values * 32767).round().astype("<i2").tobytes())
    return root


@pytest.fixture(scope="module")
def model(folder, tmp_path_factory) -> Path:
    """A convolutional net on frames (batch, 1, 16, 26), as .pt2."""
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 32, (8, 3), padding=(0, 1), bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(32 * 13, 3)),
    )
    paths = sorted((folder / "train").rglob("*.wav"))
    sounds = torch.from_numpy(np.stack([fit_sound(open_wav(p), rate=RATE, samples=SAMPLES) for p in paths]))
    labels = torch.tensor([CLASSES.index(path.parent.name) for path in paths])
    frames = log_mel(Place((SAMPLES,), RATE), BANDS)(sounds)[:, None]
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(12):
        for batch in torch.randperm(len(frames)).split(40):
            optimizer.zero_grad()
            functional.cross_entropy(net(frames[batch]), labels[batch]).backward()
            optimizer.step()
    path = tmp_path_factory.mktemp("model") / "chirps.pt2"
    torch.export.save(torch.export.export(net.eval(), (frames[:1],)), path)
    return path


@pytest.fixture(scope="module")
def run(model, folder, tmp_path_factory, edgekd) -> Path:
    out = tmp_path_factory.mktemp("runs") / "chirps"
    done = edgekd(
        *("compress", model, "--front", f"log_mel={BANDS}", "--data", folder, "--target", "raspberry-pi-5"),
        *("--epochs", 4, "--batch-size", 32, "--keep-macs", 0.4, "--out", out, "--json"),
    )
    assert done.returncode == 0, done.stderr
    return out


def test_the_report_tells_of_a_pruned_net_behind_its_front(run):
    results = json.loads((run / "report" / "results.json").read_text())
    scores = {who: figures["score"]["value"] for who, figures in results["models"].items()}
    assert scores["teacher"] > 0.9 and scores["shipped"] > 0.85
    assert "kept, behind log_mel" in results["distillation"]["origin"]
    static = next(one for one in results["candidates"] if one["scheme"] == "int8_static")
    assert static["sqnr_db"] > 20
    assert results["splits"]["kind"] == "wav folder" and results["splits"]["shape"] == [SAMPLES]


def test_the_artifact_starts_at_the_waveform(run, folder):
    how = json.loads((run / "artifact" / "preprocess.json").read_text())
    assert how["sample_rate"] == RATE and how["input_shape"] == [SAMPLES]
    assert how["origin"]["input_shape"] == "the 26 frames that the model takes"
    session = onnxruntime.InferenceSession(run / "artifact" / "model.onnx")
    assert session.get_inputs()[0].shape == [1, SAMPLES]
    paths = sorted((folder / "test").rglob("*.wav"))
    right = 0
    for path in paths:
        sound = fit_sound(open_wav(path), rate=RATE, samples=SAMPLES)
        right += CLASSES[session.run(None, {"input": sound[None]})[0].argmax()] == path.parent.name
    results = json.loads((run / "report" / "results.json").read_text())
    assert right / len(paths) == pytest.approx(results["models"]["shipped"]["score"]["value"], abs=1e-9)


def test_the_artifacts_program_reads_a_file_and_says_its_class(run, folder):
    program, artifact = run / "artifact" / "samples" / "python" / "predict.py", run / "artifact"
    said = []
    for at, name in enumerate(CLASSES):
        path = folder / "test" / name / f"{at:03d}.wav"
        words = [sys.executable, program, artifact, path]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
        said.append(done.stdout.splitlines()[0].split(" ", 1)[1])
    assert sum(map(str.__eq__, said, CLASSES)) >= 2


def test_a_student_of_fewer_bands_is_trained_and_shipped(model, folder, tmp_path, edgekd):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def build(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(8 * 26, 32), nn.ReLU(), nn.Linear(32, num_classes))\n"
    )
    out = tmp_path / "run"
    done = edgekd(
        *("export", model, "--front", f"log_mel={BANDS}", "--data", folder, "--student", "net.py:build"),
        *("--student-input", "bands=8", "--epochs", 2, "--batch-size", 32, "--out", out, "--json"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    session = onnxruntime.InferenceSession(out / "stages" / "export" / "student.onnx")
    assert session.get_inputs()[0].shape == [1, SAMPLES]


@pytest.mark.parametrize(
    ("options", "code", "match"),
    [
        (("--student-input", "bands=8"), 3, r"does not run on inputs of 1x8x26.*--student-input"),
        (("--student-input", "band=8"), 2, r"no front 'band'; did you mean 'bands'"),
        (("--student-input", "bands=8", "--student", "none"), 2, r"none is trained"),
    ],
)
def test_what_does_not_fit_is_one_sentence(model, folder, tmp_path, edgekd, options, code, match):
    words = ("distill", model, "--front", f"log_mel={BANDS}", "--data", folder, "--out", tmp_path / "run")
    done = edgekd(*words, *options)
    assert done.returncode == code and re.search(match, " ".join(done.stderr.split())), done.stderr
    assert "Traceback" not in done.stderr


def test_a_front_of_other_frames_than_the_models_is_refused(model, folder, tmp_path, edgekd):
    done = edgekd("distill", model, "--front", "log_mel=20", "--data", folder, "--out", tmp_path / "run")
    assert done.returncode == 3 and "does not run on float32 inputs of 2000" in " ".join(done.stderr.split())


def test_the_oldest_and_the_newest_runtime_give_the_parity_answer(run: Path, old_runtimes) -> None:
    graphs = dict.fromkeys(("model.onnx", "model.ort", "app.onnx", "app.ort", "sample"), True)
    for version, found in old_runtimes(run / "artifact").items():
        assert found == graphs, version


def test_the_samples_answer_as_training_did(run, answers_everywhere):
    answers_everywhere(run / "artifact")
