"""Environments with numpy and one version of ONNX Runtime alone, and an artifact's parity answer given there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgekd.device import list_profiles
from edgekd.resources import cache_folder

_LIMIT_SECONDS = 600
PROGRAM = """
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

assert onnxruntime.__version__ == sys.argv[2], onnxruntime.__version__
folder = Path(sys.argv[1])
told = json.loads((folder / "parity" / "parity.json").read_text())
vectors, tolerance = told["vectors"], told["tolerance"]


def opened(name):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])


def differences(session):
    given = np.load(folder / "parity" / "input.npy")
    [one] = session.get_inputs()
    size = one.shape[0] if isinstance(one.shape[0], int) else len(given)
    shares = [session.run(told["outputs"], {one.name: given[at : at + size]}) for at in range(0, len(given), size)]
    for index, parts in enumerate(zip(*shares)):
        expected = np.load(folder / "parity" / f"output{index}.npy")
        yield float(np.abs(np.concatenate(parts) - expected).max() / np.abs(expected).max())


def answers_right(session, at, vector):
    names = [output.name for output in session.get_outputs()]
    raw = np.load(folder / "parity" / f"raw{at}.npy")
    said = dict(zip(names, session.run(None, {session.get_inputs()[0].name: raw})))
    if told["answer"] == "classes":
        near = abs(float(said["probabilities"][0]) - vector["probabilities"][0]) <= tolerance["probability"]
        return int(said["indices"][0]) == vector["indices"][0] and near
    if told["answer"] == "boxes":
        apart = max(raw.shape[:2]) * tolerance["box"]
        boxes, expected = sorted(said["boxes"].tolist()), sorted(vector["boxes"])
        same = sorted(said["indices"].tolist()) == sorted(vector["indices"])
        return same and bool(np.allclose(boxes, expected, rtol=0, atol=apart))
    expected = np.load(folder / "parity" / "output0.npy")[at]
    return float(np.abs(said["outputs"] - expected).max() / np.abs(expected).max()) <= tolerance["output"]


found = {}
for name in ("model.onnx", "model.ort"):
    if (folder / name).is_file():
        found[name] = max(differences(opened(name))) <= tolerance["output"]
for name in ("app.onnx", "app.ort"):
    if (folder / name).is_file():
        session = opened(name)
        found[name] = all(answers_right(session, at, vector) for at, vector in enumerate(vectors))
print(json.dumps(found))
"""


def answers_in(version: str, artifact: Path) -> dict[str, bool]:
    """Return each graph of an artifact, and "sample", to whether that version of ONNX Runtime gives the parity answer
    with it."""
    python = python_with(version)
    words = [str(python), "-I", "-c", PROGRAM, str(artifact), version]
    done = subprocess.run(words, capture_output=True, text=True, timeout=_LIMIT_SECONDS)
    assert done.returncode == 0, f"ONNX Runtime {version}: {done.stderr}"
    sample = [str(python), str(artifact / "samples" / "python" / "predict.py"), str(artifact)]
    checked = subprocess.run(sample, capture_output=True, text=True, timeout=_LIMIT_SECONDS)
    return {**json.loads(done.stdout), "sample": checked.returncode == 0}


def oldest_and_newest() -> tuple[str, str]:
    """The versions of ONNX Runtime at either end of what the profiles name."""
    versions = {profile.runtimes["onnxruntime"].version for profile in list_profiles()}
    ordered = sorted(versions, key=lambda version: tuple(map(int, version.split("."))))
    return ordered[0], ordered[-1]


def python_with(version: str) -> Path:
    """Return the interpreter of an environment with that version of ONNX Runtime, made by pip once in the user's cache.

    Skips the test where nothing can be fetched; fails it in CI.
    """
    folder = cache_folder() / "tests" / f"onnxruntime-{version}-python{sys.version_info.major}.{sys.version_info.minor}"
    if not folder.is_dir():
        _make(folder, version)
    return folder / "bin" / "python"


def _make(folder: Path, version: str) -> None:
    """Make it beside, and rename: a second process that does the same finds it there."""
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    words = [str(partial / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        for command in ([sys.executable, "-m", "venv", str(partial)], [*words, f"onnxruntime=={version}", "numpy"]):
            done = subprocess.run(
                command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_LIMIT_SECONDS
            )
            if done.returncode:
                _cannot(version, done.stderr.strip()[-300:])
        if not folder.is_dir():
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _cannot(version: str, reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"no ONNX Runtime {version} in CI: {reason}")
    pytest.skip(f"no ONNX Runtime {version}: {reason}")
