"""What `edgekd try` serves: the page, the artifact after it was verified, and the runtime; nothing else."""

import shlex
from contextlib import AbstractContextManager
from pathlib import Path

from edgekd.artifact.parity.files import read_parity
from edgekd.artifact.samples.programs import PAGE
from edgekd.browser.runtime import FILES, find_web_runtime, install_web_runtime
from edgekd.browser.server import serving
from edgekd.errors import PlaceLost, UsageError
from edgekd.external_data import data_file
from edgekd.verification import verify

_PLACE = "samples/browser/"
"""Of the page in an artifact; the one that is served there is edgekd's own, whatever the artifact brings."""
_LARGEST = 2**30
_WANTED = ("SHA256SUMS", "preprocess.json", "manifest.json", "labels.txt", "parity/parity.json", "parity/output0.npy")


def try_artifact(artifact: Path, *, port: int = 0, install: bool = False) -> AbstractContextManager[str]:
    """Verify an artifact and return a server of the page that runs it; entered, it gives the page's address.

    Args:
        port: on 127.0.0.1; 0 for a free one.
        install: fetch the runtime for browsers where it is not there.

    Raises:
        BadInput: the artifact is not what was packaged.
        UsageError: it is too large for a browser, or the port is taken.
        PlaceLost: the runtime for browsers is not there and `install` is not set, or it cannot be fetched.
    """
    verify(artifact)
    files = _page_files() | _artifact_files(artifact) | _runtime_files(install, artifact)
    return serving(files, port=port, start=_PLACE)


def _page_files() -> dict[str, bytes]:
    return {f"{_PLACE}{path.name}": path.read_bytes() for path in sorted(PAGE.iterdir())}


def _artifact_files(artifact: Path) -> dict[str, bytes]:
    graph = "app.onnx" if (artifact / "app.onnx").is_file() else "model.onnx"
    weights = data_file(artifact / "model.onnx")  # large graphs keep them there
    size = sum(path.stat().st_size for path in (artifact / graph, weights) if path.is_file())
    if size > _LARGEST:
        raise UsageError(f"{artifact} is too large for a browser: {size / 2**20:.0f} MiB, at most 1024 can be tried.")
    raw = (f"parity/raw{at}.npy" for at in range(len(read_parity(artifact).vectors)))
    return {name: (artifact / name).read_bytes() for name in (graph, *_WANTED, *raw) if (artifact / name).is_file()}


def _runtime_files(install: bool, artifact: Path) -> dict[str, bytes]:
    folder = install_web_runtime() if install else find_web_runtime()
    if folder is None:
        command = f"edgekd try {shlex.quote(str(artifact))} --install"
        raise PlaceLost(f"The runtime for browsers is not there; fetch it with npm, once: {command}")
    return {f"{_PLACE}ort/{name}": (folder / name).read_bytes() for name in FILES}
