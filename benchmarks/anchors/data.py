"""Public data sets as arrays, read from the folder that ANCHORS_DATA names; `run.py` says what must be in it."""

import os
import re
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.data.materialise import materialise
from edgekd.data.source import SPLIT_NAMES
from edgekd.data.split import open_split
from edgekd.preprocessing import Preprocessing

FOLDER = Path(os.environ.get("ANCHORS_DATA", "."))
sys.path.insert(0, str(FOLDER))

TREC_WORDS, TREC_LENGTH, TREC_VALIDATION = 3512, 20, 500
SOUND_SAMPLES, FRAME, HOP, MELS, RATE = 6400, 256, 128, 40, 8000
PAST, AHEAD, MONTH = 336, 96, 30 * 24
WINDOW_STEP = 4
"""Every fourth window of the training months: neighbours differ in one hour."""

Arrays = dict[str, npt.NDArray[Any]]


def trec() -> Arrays:
    """TREC questions (Li and Roth 2002), six classes: int64 ids (n, 20) of words seen twice, 0 for none, 1 for rare."""
    with tarfile.open(FOLDER / "text.tar.xz") as archive:
        train, test = (_questions(archive, f"text/sent-conv-torch/TREC.{part}.all") for part in ("train", "test"))
    counts = Counter(word for _, words in train for word in words)
    index = {word: at + 2 for at, word in enumerate(sorted(word for word, n in counts.items() if n > 1))}
    assert len(index) + 2 <= TREC_WORDS

    def arrays(rows: list[tuple[int, list[str]]]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        ids = np.zeros((len(rows), TREC_LENGTH), np.int64)
        for row, (_, words) in zip(ids, rows, strict=True):
            found = [index.get(word, 1) for word in words[:TREC_LENGTH]]
            row[: len(found)] = found
        return ids, np.array([label for label, _ in rows])

    order = np.random.default_rng(0).permutation(len(train))
    shuffled = [train[at] for at in order]
    parts = {"train": shuffled[TREC_VALIDATION:], "val": shuffled[:TREC_VALIDATION], "test": test}
    return {
        f"{axis}_{name}": each for name, rows in parts.items() for axis, each in zip("xy", arrays(rows), strict=True)
    }


def spoken_digits() -> Arrays:
    """Free Spoken Digit Dataset, its official split: log-mel float32 (n, 40, frames), standardised by train."""
    from load_packs import load_fsdd  # type: ignore[import-not-found]

    waves, labels, _, is_test = load_fsdd(FOLDER / "fsdd.npz")
    bank, held_out = _mel_bank(), np.asarray(is_test, bool)
    mels = np.stack([_log_mel(wave, bank) for wave in waves])
    mels = ((mels - mels[~held_out].mean()) / mels[~held_out].std()).astype(np.float32)
    y = np.asarray(labels, np.int64)
    return {"x_train": mels[~held_out], "y_train": y[~held_out], "x_test": mels[held_out], "y_test": y[held_out]}


def etth1() -> Arrays:
    """ETTh1 (Zhou et al. 2021): 336 hours of seven series and the 96 after them; 12, 4 and 4 months, standardised."""
    with tarfile.open(FOLDER / "ett.tar.xz") as archive:
        text = archive.extractfile("ett/ETTh1.csv")
        assert text is not None
        rows = np.loadtxt(text, delimiter=",", skiprows=1, usecols=range(1, 8)).astype(np.float32)
    rows = (rows - rows[: 12 * MONTH].mean(0)) / rows[: 12 * MONTH].std(0)
    borders = {"train": (0, 12), "val": (12, 16), "test": (16, 20)}
    found: Arrays = {}
    for name, (start, end) in borders.items():
        part = rows[max(0, start * MONTH - PAST) : end * MONTH]
        windows = np.lib.stride_tricks.sliding_window_view(part, PAST + AHEAD, axis=0).transpose(0, 2, 1)
        windows = windows[:: WINDOW_STEP if name == "train" else 1]
        found |= {f"x_{name}": windows[:, :PAST].copy(), f"y_{name}": windows[:, PAST:].copy()}
    return found


def cifar10() -> Arrays:
    """CIFAR-10 (Krizhevsky 2009): uint8 (n, 32, 32, 3)."""
    from load_packs import load

    parts = [load(FOLDER / f"cifar10_{name}.npz") for name in ("train_a", "train_b", "test")]
    x, y = (np.concatenate([part[at] for part in parts[:2]]) for at in (0, 1))
    return {"x_train": x, "y_train": y.astype(np.int64), "x_test": parts[2][0], "y_test": parts[2][1].astype(np.int64)}


def bccd() -> Arrays:
    """BCCD, cells in 364 smears of blood: uint8 (n, 160, 208, 3), and boxes float32 (n, objects, 3 + 4) in pixels.

    Its validation split is the test here; an eighth of train is for validation.
    """
    how = Preprocessing(height=160, width=208, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(FOLDER / "bccd.tar") as archive:
            archive.extractall(folder, filter="data")
        materialise(f"{folder}/bccd", Path(folder) / "arrays", how)
        splits = {name: open_split(Path(folder) / "arrays", name) for name in SPLIT_NAMES}
        parts = [(np.asarray(split.inputs), split.labels) for split in (splits["train"], splits["test"], splits["val"])]
    images, boxes = (np.concatenate([part[at] for part in parts[:2]]) for at in (0, 1))
    order, cut = np.random.default_rng(0).permutation(len(images)), len(images) // 8
    names = {"val": order[:cut], "train": order[cut:]}
    found = {f"x_{name}": images[index] for name, index in names.items()}
    found |= {f"y_{name}": boxes[index] for name, index in names.items()}
    return found | {"x_test": parts[2][0], "y_test": parts[2][1], "classes": np.array(["WBC", "RBC", "Platelets"])}


def _questions(archive: tarfile.TarFile, name: str) -> list[tuple[int, list[str]]]:
    file = archive.extractfile(name)
    assert file is not None
    lines = file.read().decode("latin-1").splitlines()
    split = [line.partition(" ") for line in lines]
    return [(int(label), re.findall(r"[a-z0-9]+|[^\sa-z0-9]", text.lower())) for label, _, text in split]


def _mel_bank() -> npt.NDArray[np.float64]:
    """Triangles (mels, bins) spaced evenly on the mel scale: 2595 log10(1 + f / 700)."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    bottom = 2595 * np.log10(1 + 50 / 700)
    edges = 700 * (10 ** (np.linspace(bottom, top, MELS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(FRAME, 1 / RATE)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(rising, falling))


def _log_mel(wave: npt.NDArray[np.int16], bank: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    samples = np.zeros(SOUND_SAMPLES)
    count = min(SOUND_SAMPLES, len(wave))
    samples[:count] = wave[:count] / 32768
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP] * np.hanning(FRAME)
    return np.asarray(np.log(bank @ (np.abs(np.fft.rfft(frames)) ** 2).T + 1e-6))


DATA: dict[str, Callable[[], Arrays]] = {
    "trec": trec,
    "spoken_digits": spoken_digits,
    "etth1": etth1,
    "cifar10": cifar10,
    "bccd": bccd,
}
