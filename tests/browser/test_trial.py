"""`edgekd try`: what it refuses, what it serves, and how it ends."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin

import pytest

from edgekd.browser import trial
from edgekd.errors import BadInput, PlaceLost, UsageError

PAGE = {f"samples/browser/{path.name}" for path in trial.PAGE.iterdir()}


@pytest.fixture
def runtime_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "ort"
    folder.mkdir()
    (folder / "some.wasm").write_bytes(b"\0asm")
    (folder / "other.wasm").write_bytes(b"\0asm")
    monkeypatch.setattr(trial, "FILES", {"some.wasm": ""})
    monkeypatch.setattr(trial, "find_web_runtime", lambda: folder)


@pytest.mark.usefixtures("runtime_there")
def test_only_what_the_page_needs_is_served(
    make_artifact: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    served: dict[str, bytes] = {}
    monkeypatch.setattr(trial, "serving", lambda files, port, start: served.update(files))
    artifact = make_artifact()
    trial.try_artifact(artifact)
    needed = {"SHA256SUMS", "app.onnx", "preprocess.json", "labels.txt", "manifest.json"}
    parity = {"parity/parity.json", "parity/output0.npy"}
    parity |= {f"parity/{path.name}" for path in (artifact / "parity").glob("raw*.npy")}
    assert set(served) == PAGE | needed | parity | {"samples/browser/ort/some.wasm"}
    assert served["app.onnx"] == (artifact / "app.onnx").read_bytes()


@pytest.mark.usefixtures("runtime_there")
def test_a_page_that_the_artifact_brings_is_never_served(
    make_artifact: Callable[..., Path], list_again: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    served: dict[str, bytes] = {}
    monkeypatch.setattr(trial, "serving", lambda files, port, start: served.update(files))
    artifact = make_artifact()
    page = artifact / "samples" / "browser" / "page.js"
    own = page.read_bytes()
    page.write_text("evil()")
    list_again(artifact)
    trial.try_artifact(artifact)
    assert served["samples/browser/page.js"] == own


@pytest.mark.parametrize("name", ["labels.txt", "preprocess.json", "parity/raw0.npy"])
def test_a_spoiled_file_is_refused(make_artifact: Callable[..., Path], name: str) -> None:
    artifact = make_artifact()
    (artifact / name).write_bytes((artifact / name).read_bytes() + b"\n")
    with pytest.raises(BadInput, match="has changed since it was packaged"):
        trial.try_artifact(artifact)


@pytest.mark.usefixtures("runtime_there")
def test_a_model_that_is_too_large(make_artifact: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_LARGEST", 1000)
    with pytest.raises(UsageError, match="is too large for a browser"):
        trial.try_artifact(make_artifact())


def test_without_the_runtime_the_command_that_fetches_it_is_said(
    make_artifact: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    artifact = make_artifact()
    with pytest.raises(PlaceLost, match=r"fetch it with npm, once: edgekd try .*artifact --install"):
        trial.try_artifact(artifact)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "terminated"])
def test_the_command_prints_the_address_and_ends_well(
    make_artifact: Callable[..., Path], web_runtime: Path, stop: signal.Signals
) -> None:
    artifact = make_artifact()
    # Of what runs in the background, as tests may, shells have Ctrl-C ignored.
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{listening}; from edgekd.cli.main import main; main(['try', {str(artifact)!r}, '--no-open', '--json'])"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        said = json.loads("".join([*iter(process.stdout.readline, "}\n"), "}"]))
        assert said["schema"] == 1
        with urllib.request.urlopen(urljoin(said["address"], "../../labels.txt"), timeout=10) as reply:
            assert reply.read() == (artifact / "labels.txt").read_bytes()
        process.send_signal(stop)
        rest, complaints = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, rest, complaints) == (0, "", "")
