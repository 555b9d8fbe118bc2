"""Samples of a sound, a text and a detection model, each trained on real data: the parity answers, and every mistake
that an app may make."""

import runpy
import tarfile
import wave
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import edgekd
from edgekd.data.materialise import materialise, open_split
from edgekd.data.wav import Sound, fit_sound
from edgekd.fronts.log_mel import log_mel
from edgekd.fronts.place import Place
from edgekd.preprocessing import Preprocessing
from edgekd.tasks.detection import DETECTION
from edgekd.training.data import TrainingData
from edgekd.training.loop import train
from edgekd.training.plan import Plan

pytestmark = pytest.mark.slow

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "shared" / "data"
RATE, SAMPLES, BANDS = 8000, 4000, 40
LENGTH = 24
HEIGHT, WIDTH = 96, 128
QUICK = {
    **{"student": "none", "target": "raspberry-pi-5", "runtimes": "onnxruntime"},
    **{"schemes": "fp32,int8_static", "rungs": "none"},
}
HAS = {"sound": "sound", "text": "tokens", "detection": "image"}
"""What an app has, by kind of model."""
programs = SimpleNamespace(**runpy.run_path(str(HERE / "sample_programs.py")))


class Words(nn.Module):
    """The mean of the words' vectors, and two layers; 0 is padding."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.table, self.hidden, self.head = nn.Embedding(words, 32), nn.Linear(32, 32), nn.Linear(32, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        told = (ids != 0).unsqueeze(-1)
        return self.head(self.hidden((self.table(ids) * told).sum(1) / told.sum(1)).relu())


class Cells(nn.Module):
    """One box at every place of a map of stride 8, which starts as large as most white cells."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        sizes = ((3, 12, 2), (12, 24, 2), (24, 48, 2), (48, 48, 1), (48, 48, 1))
        layers = [(nn.Conv2d(a, b, 3, s, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()) for a, b, s in sizes]
        self.body = nn.Sequential(*(part for layer in layers for part in layer))
        self.classes, self.sides = nn.Conv2d(48, classes, 1), nn.Conv2d(48, 4, 1)
        nn.init.constant_(self.classes.bias, -4.0)
        nn.init.constant_(self.sides.bias, 2.0)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.body(images)
        left, top, right, bottom = (8 * functional.softplus(self.sides(maps).float())).unbind(1)
        rows, columns = (torch.arange(size) for size in maps.shape[2:])
        y, x = (8 * (each + 0.5) for each in torch.meshgrid(rows, columns, indexing="ij"))
        boxes = torch.stack([x - left, y - top, x + right, y + bottom], 1)
        return self.classes(maps).flatten(2).mT, boxes.flatten(2).mT


def packed(name: str) -> Path:
    """A file of the shared data. Skips the test where it is not there."""
    if not (DATA / name).is_file():
        pytest.skip("the shared data lie beside the checkout, and are not there")
    return DATA / name


def fit(net: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, passes: int) -> float:
    """Train on these, and return the share that is then told right."""
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(passes):
        for batch in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            functional.cross_entropy(net(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        return float((net(inputs).argmax(1) == labels).float().mean())


def exported(net: nn.Module, example: torch.Tensor, path: Path) -> Path:
    torch.export.save(torch.export.export(net.eval(), (example,)), path)
    return path


def tokenizer(texts: list[str]) -> Any:
    """Of the words that come three times in these, between [CLS] and [SEP]."""
    tokenizers = pytest.importorskip("tokenizers")
    counts = Counter(word for text in texts for word in text.split() if word.isalpha())
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted(word for word, count in counts.items() if count > 2)]
    made = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({word: at for at, word in enumerate(words)}, unk_token="[UNK]")
    )
    made.normalizer = tokenizers.normalizers.BertNormalizer()
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Spoken digits, of every fourth recording, by a small net behind log-mel frames."""
    folder = tmp_path_factory.mktemp("sound")
    load = runpy.run_path(str(packed("load_packs.py")))["load_fsdd"]
    waves, labels, _, is_test = load(packed("fsdd.npz"))
    kept: list[tuple[np.ndarray, int]] = []
    for at in range(0, len(waves), 4):
        path = folder / "digits" / ("test" if is_test[at] else "train") / str(labels[at]) / f"{at:04d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes(waves[at].astype("<i2").tobytes())
        if not is_test[at]:
            heard = Sound((waves[at] / 2**15).astype(np.float32), RATE)
            kept.append((fit_sound(heard, rate=RATE, samples=SAMPLES), int(labels[at])))
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Flatten(), nn.LazyLinear(10)),
    )
    frames = log_mel(Place((SAMPLES,), RATE), BANDS)(torch.from_numpy(np.stack([one for one, _ in kept])))[:, None]
    net(frames[:2])
    assert fit(net, frames, torch.tensor([label for _, label in kept]), passes=12) > 0.9
    model = exported(net, frames[:1], folder / "digits.pt2")
    edgekd.compress(model, data=folder / "digits", front=(f"log_mel={BANDS}",), out=folder / "run", **QUICK)
    return folder / "run" / "artifact"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SST-2's sentences by the mean of their words' vectors."""
    folder, name = tmp_path_factory.mktemp("text"), "text/pytorch-sentiment-classification/SST2"
    with tarfile.open(packed("text.tar.xz")) as archive:
        archive.extractall(folder, [one for one in archive if one.name.startswith(f"{name}/")], filter="data")
    sentences = folder / name
    rows = [line.split("\t") for line in (sentences / "train.tsv").read_text(encoding="utf-8").splitlines()]
    reads = tokenizer([text for text, _ in rows])
    reads.save(str(folder / "tokenizer.json"))
    reads.enable_padding(length=LENGTH)
    reads.enable_truncation(LENGTH)
    ids = torch.tensor([one.ids for one in reads.encode_batch([text for text, _ in rows])])
    torch.manual_seed(0)
    net = Words(reads.get_vocab_size())
    assert fit(net, ids, torch.tensor([int(label) for _, label in rows]), passes=8) > 0.9
    model = exported(net, ids[:1], folder / "words.pt2")
    edgekd.compress(model, data=sentences, tokenizer=folder / "tokenizer.json", out=folder / "run", **QUICK)
    return folder / "run" / "artifact"


@pytest.fixture(scope="module")
def detection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells in smears of blood, red ones in heaps of a dozen, by a net trained with edgekd's own loop."""
    folder = tmp_path_factory.mktemp("detection")
    with tarfile.open(packed("bccd.tar")) as archive:
        archive.extractall(folder, filter="data")
    how = Preprocessing(height=HEIGHT, width=WIDTH, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
    materialise(str(folder / "bccd"), folder / "arrays", how)
    data = TrainingData(open_split(folder / "arrays", "train"), open_split(folder / "arrays", "val"), how, DETECTION)
    torch.manual_seed(0)
    plan = Plan(steps=300, batch_size=16, optimizer="adamw", learning_rate=4e-3, augment="flip", evaluate_every=150)
    net = Cells(3)
    trained = train(net, teacher=None, data=data, plan=plan, checkpoint=folder / "checkpoint")
    assert trained.score > 0.5
    model = exported(net, torch.zeros(1, 3, HEIGHT, WIDTH), folder / "cells.pt2")
    more = {"mean": "0.5,0.5,0.5", "std": "0.25,0.25,0.25", "task": "detection"}
    edgekd.compress(model, data=folder / "bccd", out=folder / "run", **more, **QUICK)
    return folder / "run" / "artifact"


PLANTED = [(kind, mistake) for kind, has in HAS.items() for mistake in programs.KINDS[has]]


@pytest.fixture
def artifact(kind: str, request: pytest.FixtureRequest) -> Path:
    """The one of this kind."""
    made: Path = request.getfixturevalue(kind)
    return made


@pytest.mark.parametrize("kind", HAS)
def test_the_samples_answer_as_training_did(artifact: Path, answers_everywhere: Callable[[Path], None]) -> None:
    answers_everywhere(artifact)


@pytest.mark.parametrize(("kind", "mistake"), PLANTED)
@pytest.mark.parametrize("language", ["python", "node", "cpp"])
def test_a_mistake_in_a_sample_is_caught(
    artifact: Path, copy_out: Callable[..., Callable[..., Any]], language: str, mistake: str
) -> None:
    done = copy_out(language, artifact, dict([programs.MISTAKES[language][mistake]]))()
    assert done.returncode == 1, done.stderr
    assert "this computes something else than was tested" in done.stderr


@pytest.mark.parametrize(("kind", "mistake"), PLANTED)
def test_a_mistake_in_the_page_is_caught(
    artifact: Path, mistaken_page: Callable[[Path, str], str], mistake: str
) -> None:
    assert mistaken_page(artifact, mistake).startswith("Fail: parity vector ")
