"""Small real inputs that many tests share: images of coloured stripes, and a CNN that was really trained on them."""

import importlib.metadata
import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ("diagonal", "horizontal", "vertical")
HEIGHT, WIDTH = 24, 32

_old_runtimes = runpy.run_path(str(Path(__file__).with_name("old_runtimes.py")))
_sample_programs = runpy.run_path(str(Path(__file__).with_name("sample_programs.py")))
_node_tools = runpy.run_path(str(Path(__file__).with_name("node_tools.py")))


def stripes(label: int, rng: np.random.Generator) -> np.ndarray:
    """One image uint8 (24, 32, 3): stripes in one of three directions, in random colours, with noise."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    along = (rows + columns, rows, columns)[label]
    wave = np.sin(along * rng.uniform(0.6, 1.2) + rng.uniform(0, 6))[..., None]
    low, high = rng.uniform(0, 100, 3), rng.uniform(130, 255, 3)
    image = low + (high - low) * (wave + 1) / 2 + rng.normal(0, 25, (HEIGHT, WIDTH, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def stripes_npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 training and 90 test images with labels, balanced, as .npz."""
    rng = np.random.default_rng(7)
    labels = {"train": np.arange(240) % 3, "test": np.arange(90) % 3}
    arrays = {f"x_{name}": np.stack([stripes(int(k), rng) for k in y]) for name, y in labels.items()}
    path = tmp_path_factory.mktemp("stripes") / "stripes.npz"
    np.savez(path, **arrays, **{f"y_{name}": y for name, y in labels.items()}, classes=np.array(CLASSES))
    return path


@pytest.fixture(scope="session")
def stripes_folder(stripes_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images as train/CLASS/*.png and test/CLASS/*.png."""
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("stripes-folder")
    with np.load(stripes_npz) as data:
        for split in ("train", "test"):
            for index, (pixels, label) in enumerate(zip(data[f"x_{split}"], data[f"y_{split}"], strict=True)):
                path = folder / split / CLASSES[label] / f"{index:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                image.fromarray(pixels).save(path)
    return folder


def small_cnn():
    """A CNN with batch norm, ReLU and a residual sum, for three classes."""
    from torch import nn

    class Residual(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

        def forward(self, x):
            return (x + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()

    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Residual(16),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        Residual(32),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 3),
    )


@pytest.fixture(scope="session")
def trained_cnn(stripes_npz: Path):
    """`small_cnn` trained for a few seconds on the stripes, normalised with mean and std 0.5."""
    import torch
    from torch.nn import functional

    torch.manual_seed(0)
    model = small_cnn()
    with np.load(stripes_npz) as data:
        images = torch.from_numpy(data["x_train"]).permute(0, 3, 1, 2).float() / 127.5 - 1
        labels = torch.from_numpy(data["y_train"])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(12):
        for batch in torch.randperm(len(images)).split(40):
            loss = functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


@pytest.fixture(scope="session")
def trained_pt2(trained_cnn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained CNN as a `.pt2` file, exported as most people do: one example, no dynamic shapes."""
    import torch

    path = tmp_path_factory.mktemp("model") / "stripes.pt2"
    torch.export.save(torch.export.export(trained_cnn, (torch.zeros(1, 3, HEIGHT, WIDTH),)), path)
    return path


@pytest.fixture(scope="session")
def edgekd() -> Callable[..., subprocess.CompletedProcess]:
    """Run the command in a process of its own, as a user does; `json=True` parses what it printed."""

    def run(*arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None):
        return subprocess.run(
            [sys.executable, "-m", "edgekd.cli.main", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, "COLUMNS": "160", **(env or {})},
            timeout=600,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def finished_run(trained_pt2: Path, stripes_folder: Path, tmp_path_factory: pytest.TempPathFactory, edgekd) -> Path:
    """One whole `edgekd compress` for the Raspberry Pi 4, run by the command line; many tests look at what it left."""
    out = tmp_path_factory.mktemp("runs") / "stripes-pi4"
    done = edgekd(
        *("compress", trained_pt2, "--target", "raspberry-pi-4", "--data", stripes_folder, "--out", out),
        *("--epochs", 3, "--batch-size", 32, "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5", "--json"),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "pass"
    return out


@pytest.fixture(scope="session")
def emulation() -> str:
    """The version of ONNX Runtime that is installed here, with the emulation kit for it in the user's cache."""
    return _with_kit(importlib.metadata.version("onnxruntime"))


@pytest.fixture(scope="session")
def emulated_targets() -> str:
    """The version of ONNX Runtime that the Raspberry Pis' profiles name, with the kit for it."""
    from edgekd.device import load_profile

    return _with_kit(load_profile("raspberry-pi-5").runtimes["onnxruntime"].version)


def _with_kit(version: str) -> str:
    from edgekd.emulation.kit import install_kit
    from edgekd.errors import EdgekdError

    try:
        install_kit("cortex-a76", version)
    except EdgekdError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no emulation in CI: {error}")
        pytest.skip(f"no emulation: {error}")
    return version


@pytest.fixture(scope="session")
def old_runtimes() -> Callable[[Path], dict[str, dict[str, bool]]]:
    """What the oldest and the newest ONNX Runtime that profiles name, each in an environment of its own, make of an
    artifact: version to graph to whether it gives the parity answer."""
    return lambda artifact: {
        one: _old_runtimes["answers_in"](one, artifact) for one in _old_runtimes["oldest_and_newest"]()
    }


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """Folder of the Node.js packages that browser tests need, for NODE_PATH."""
    folder: Path = _node_tools["node_tools"]()
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium."""
    path: str = _node_tools["find_browser"]()
    return path


@pytest.fixture(scope="session")
def web_runtime() -> Path:
    """ONNX Runtime for browsers, in the user's cache."""
    from edgekd.browser.runtime import install_web_runtime
    from edgekd.errors import EdgekdError

    try:
        return install_web_runtime()
    except EdgekdError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no page is tried, in CI: {error}")
        pytest.skip(f"no page is tried: {error}")


@pytest.fixture
def drive(chromium: str, node_modules: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """`drive(address, tries)`: what the page says in Chromium, as tests/browser/drive.cjs writes it."""

    def run(address: str, tries: Sequence[tuple[str, Path]] = (), **more: Any) -> dict[str, Any]:
        job = {"browser": chromium, "profile": str(tmp_path / "profile"), "address": address, **more}
        job["tries"] = [(how, str(file)) for how, file in tries]
        done = subprocess.run(
            ["node", str(ROOT / "tests" / "browser" / "drive.cjs"), json.dumps(job)],
            env={**os.environ, "NODE_PATH": str(node_modules)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    return run


@pytest.fixture
def copy_out(tmp_path: Path, node_modules: Path) -> Callable[..., Callable[..., Any]]:
    """`copy_out(language, artifact, changes)`: what runs a sample, copied out; see tests/sample_programs.py."""

    def copied(language: str, artifact: Path, changes: Mapping[str, str] | None = None) -> Callable[..., Any]:
        folder = Path(tempfile.mkdtemp(prefix="für mich ", dir=tmp_path)) / language
        run: Callable[..., Any] = _sample_programs["copied_out"](artifact, folder, node_modules, changes or {})
        return run

    return copied


@pytest.fixture
def answers_everywhere(
    copy_out: Callable[..., Callable[..., Any]], web_runtime: Path, drive: Callable[..., dict[str, Any]]
) -> Callable[[Path], None]:
    """`answers_everywhere(artifact)`: its samples in Python, Node.js and C++ and the page in Chromium give the parity
    answers."""
    from edgekd.browser.trial import try_artifact

    def check(artifact: Path) -> None:
        runs = {language: copy_out(language, artifact) for language in ("python", "node", "cpp")}
        done = {language: run() for language, run in runs.items()}
        assert {language: one.returncode for language, one in done.items()} == dict.fromkeys(runs, 0), done
        assert all("vectors answered as in training" in one.stderr for one in done.values())
        with try_artifact(artifact) as address:
            assert drive(address)["check"].startswith("Pass: ")

    return check


@pytest.fixture
def mistaken_page(
    web_runtime: Path, drive: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path, str], str]:
    """`mistaken_page(artifact, mistake)`: what the self-check of a page with a mistake in it says."""
    from edgekd.browser import trial

    def check(artifact: Path, mistake: str) -> str:
        files = trial._page_files()
        script, good, bad = _sample_programs["PAGE_MISTAKES"][mistake]
        name = f"samples/browser/{script}"
        assert files[name].decode().count(good) == 1
        files[name] = files[name].replace(good.encode(), bad.encode())
        monkeypatch.setattr(trial, "_page_files", lambda: files)
        with trial.try_artifact(artifact) as address:
            said = drive(address)
        assert not said["trial"]
        return str(said["check"])

    return check
