"""What `edgekd try` serves: the page, the artifact after it was verified, and the runtime; nothing else."""

import shlex
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from edgekd.browser.runtime import FILES, find_web_runtime, install_web_runtime
from edgekd.browser.server import serving
from edgekd.errors import BadInput, PlaceLost, UsageError, reason_of
from edgekd.preprocessing import Preprocessing
from edgekd.verification import verify

_PAGE = Path(__file__).parent / "page"
_LARGEST = 2**30
_NEEDED = ("SHA256SUMS", "model.onnx", "preprocess.json", "parity/parity.json", "parity/vectors.npz")
_WANTED = ("manifest.json", "labels.txt", "postprocess.json", "parity/image.npz")


def try_artifact(artifact: Path, *, port: int = 0, install: bool = False) -> AbstractContextManager[str]:
    """Verify an artifact and return a server of the page that runs it; entered, it gives the page's address.

    Args:
        port: on 127.0.0.1; 0 for a free one.
        install: fetch the runtime for browsers where it is not there.

    Raises:
        BadInput: the artifact is not what was packaged, or says nothing sound of its inputs.
        UsageError: it is too large for a browser, or the port is taken.
        PlaceLost: the runtime for browsers is not there and `install` is not set, or it cannot be fetched.
    """
    verify(artifact)
    _check_inputs(artifact)
    return serving(_page_files() | _artifact_files(artifact) | _runtime_files(install, artifact), port=port)


def _check_inputs(artifact: Path) -> None:
    """The page takes preprocess.json at its word, which hashes alone do not make a sound one."""
    path = artifact / "preprocess.json"
    try:
        how = Preprocessing.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = reason_of(error)
        raise BadInput(f"{path} does not say how inputs are made ({reason}); package the run again.") from error
    with np.load(artifact / "parity" / "vectors.npz") as vectors:
        shape = vectors["input"].shape[1:]
    if shape != how.shape:
        raise BadInput(f"{path} makes inputs of shape {how.shape}, the model takes {shape}; package the run again.")


def _page_files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(_PAGE.iterdir())}


def _artifact_files(artifact: Path) -> dict[str, bytes]:
    size = sum(path.stat().st_size for path in artifact.glob("model.onnx*"))  # large ones keep weights beside the graph
    if size > _LARGEST:
        raise UsageError(f"{artifact} is too large for a browser: {size / 2**20:.0f} MiB, at most 1024 can be tried.")
    names = [*_NEEDED, *(name for name in _WANTED if (artifact / name).is_file())]
    return {f"artifact/{name}": (artifact / name).read_bytes() for name in names}


def _runtime_files(install: bool, artifact: Path) -> dict[str, bytes]:
    folder = install_web_runtime() if install else find_web_runtime()
    if folder is None:
        command = f"edgekd try {shlex.quote(str(artifact))} --install"
        raise PlaceLost(f"The runtime for browsers is not there; fetch it with npm, once: {command}")
    return {f"ort/{name}": (folder / name).read_bytes() for name in FILES}
