"""Samples of a really trained model, on photographs: the parity answers, and every mistake that an app may make."""

import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import edgekd

pytestmark = pytest.mark.slow

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
programs = SimpleNamespace(**runpy.run_path(str(HERE / "sample_programs.py")))


@pytest.fixture(scope="module")
def photographs() -> tuple[np.ndarray, np.ndarray]:
    """600 test images of CIFAR-10, uint8 (600, 32, 32, 3), and their classes."""
    if not (SHARED / "models").is_dir():
        pytest.skip("the shared models lie beside the checkout, and are not there")
    load = runpy.run_path(str(SHARED / "data" / "load_packs.py"))["load"]
    images, labels, *_ = load(SHARED / "data" / "cifar10_test.npz")
    return images[:600], labels[:600]


@pytest.fixture(scope="module")
def artifact(photographs: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLPerf Tiny's ResNet-8 as it came, in int8 or as it pays, for the Raspberry Pi 5."""
    folder = tmp_path_factory.mktemp("resnet8")
    images, labels = photographs
    parts = {"train": slice(0, 300), "val": slice(300, 400), "test": slice(400, 600)}
    arrays = {f"x_{name}": images[part] for name, part in parts.items()}
    arrays |= {f"y_{name}": labels[part] for name, part in parts.items()}
    np.savez(folder / "cifar10.npz", **arrays, classes=np.array(CLASSES))
    edgekd.compress(
        SHARED / "models" / "mlperf-tiny-resnet8" / "resnet8.onnx",
        data=folder / "cifar10.npz",
        student="none",
        target="raspberry-pi-5",
        schemes="fp32,int8_static",
        scale="0..255",
        mean="0,0,0",
        std="1,1,1",
        out=folder / "run",
    )
    return folder / "run" / "artifact"


def test_the_samples_answer_as_training_did(artifact: Path, answers_everywhere: Callable[[Path], None]) -> None:
    answers_everywhere(artifact)


@pytest.mark.parametrize("mistake", programs.KINDS["image"])
@pytest.mark.parametrize("language", ["python", "node", "cpp"])
def test_a_mistake_in_a_sample_is_caught(
    artifact: Path, copy_out: Callable[..., Callable[..., Any]], language: str, mistake: str
) -> None:
    done = copy_out(language, artifact, dict([programs.MISTAKES[language][mistake]]))()
    assert done.returncode == 1, done.stderr
    assert "this computes something else than was tested" in done.stderr


@pytest.mark.parametrize("mistake", programs.KINDS["image"])
def test_a_mistake_in_the_page_is_caught(
    artifact: Path, mistaken_page: Callable[[Path, str], str], mistake: str
) -> None:
    assert mistaken_page(artifact, mistake).startswith("Fail: parity vector ")


def test_photographs_of_another_size_are_classified_alike(
    artifact: Path,
    photographs: tuple[np.ndarray, np.ndarray],
    copy_out: Callable[..., Callable[..., Any]],
    tmp_path: Path,
) -> None:
    """By Python, Node.js and C++, of one file: the same classes, with probabilities within a thousandth."""
    runs = [copy_out(language, artifact) for language in ("python", "node", "cpp")]
    images, _ = photographs
    for at, size in enumerate([(32, 32), (77, 51), (20, 90), (400, 300)]):
        Image.fromarray(images[at]).resize(size, Image.Resampling.BICUBIC).save(tmp_path / "photo.ppm")
        said = [[line.split(" ", 1) for line in run(tmp_path / "photo.ppm").stdout.splitlines()] for run in runs]
        assert len(said[0]) == 5
        assert [label for _, label in said[0]] == [label for _, label in said[1]] == [label for _, label in said[2]]
        shares = np.array([[float(share) for share, _ in one] for one in said])
        assert np.ptp(shares, axis=0).max() <= 1e-3
