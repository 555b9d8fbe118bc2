"""Check an artifact: every file is listed and unchanged, and the model still gives the logits it was shipped with."""

import json
from pathlib import Path

import numpy as np

from edgekd.errors import BadInput
from edgekd.record import Record
from edgekd.runtimes import predict_batches
from edgekd.workspace import file_sha256


class Verification(Record):
    """What was checked. `largest_difference` is relative to the largest expected logit."""

    files: int
    vectors: int
    largest_difference: float
    tolerance: float
    runtime: str


def verify(artifact: Path | str) -> Verification:
    """Check the hashes in SHA256SUMS, refuse files that are not listed, and replay the parity vectors.

    Raises:
        BadInput: no artifact, or the first thing in it that is missing, changed, unlisted or computes something else.
    """
    folder = Path(artifact)
    listed = _read_sums(folder)
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}
    unlisted = sorted(present - set(listed) - {"SHA256SUMS"})
    if unlisted:
        raise BadInput(
            f"{folder} holds {unlisted[0]!r}, which SHA256SUMS does not list; remove it or do not trust this."
        )
    for name, sha in listed.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise BadInput(
                f"{path} is listed in SHA256SUMS but is missing or not a regular file; fetch the artifact again."
            )
        if file_sha256(path) != sha:
            raise BadInput(f"{path} has changed since it was packaged: its SHA-256 differs; fetch the artifact again.")
    return _replay(folder, len(listed))


def _read_sums(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
        listed = {name: sha for sha, name in (line.split("  ", 1) for line in lines)}
    except (OSError, UnicodeDecodeError, ValueError):
        raise BadInput(
            f"{folder} is no artifact: it has no readable SHA256SUMS; name a run's artifact folder."
        ) from None
    inside = folder.resolve()
    outside = next((name for name in listed if not (folder / name).resolve().is_relative_to(inside)), None)
    if outside is not None:
        raise BadInput(f"{folder}/SHA256SUMS lists {outside!r}, which lies outside the artifact; do not trust this.")
    if "model.onnx" not in listed:
        raise BadInput(f"{folder}/SHA256SUMS does not list model.onnx; fetch the artifact again.")
    return listed


def _replay(folder: Path, files: int) -> Verification:
    try:
        expected = json.loads((folder / "parity" / "parity.json").read_text())
        with np.load(folder / "parity" / "vectors.npz", allow_pickle=False) as vectors:
            inputs, logits = vectors["input"], vectors["logits"]
        runtime, tolerance = str(expected["runtime"]), float(expected["relative_tolerance"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{folder}/parity cannot be read: {error}; fetch the artifact again.") from None
    actual = predict_batches(folder / "model.onnx", [inputs], runtime=runtime)
    difference = float(np.abs(actual - logits).max() / max(1e-12, float(np.abs(logits).max())))
    if not difference <= tolerance:
        raise BadInput(
            f"{folder}/model.onnx gives logits that differ by {difference:.1%} from parity/vectors.npz, "
            f"{tolerance:.0%} is allowed; this machine's {runtime} computes something else than was tested."
        )
    return Verification(
        files=files, vectors=len(inputs), largest_difference=difference, tolerance=tolerance, runtime=runtime
    )
