"""Check an artifact: every file is listed and unchanged, and the model still gives the outputs it was shipped with."""

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.artifact.identity import SUMS
from edgekd.artifact.parity import MAX_TEXT, Parity, read_bounded, read_parity, read_tensors, relative_difference
from edgekd.errors import BadInput
from edgekd.external_data import data_file
from edgekd.formats.onnx_file import external_files
from edgekd.formats.zip_members import shown
from edgekd.record import Record
from edgekd.runtimes import predict_all
from edgekd.schemes.offered import on_this_machine
from edgekd.workspace import file_sha256


class Verification(Record):
    """What was checked. `largest_difference` is relative to the largest expected output."""

    files: int
    vectors: int
    largest_difference: float
    tolerance: float
    runtime: str


def verify(artifact: Path | str) -> Verification:
    """Check the hashes in SHA256SUMS, refuse files that are not listed, and replay the parity vectors.

    Raises:
        BadInput: no artifact, or the first thing in it that is missing, changed, unlisted, a link, or computes
            something else.
        UsageError: the runtime that the artifact was made for is not installed.
    """
    folder = Path(artifact)
    listed = _read_sums(folder)
    _refuse_unlisted(folder, listed)
    for name, sha in listed.items():
        path = folder / name
        if not path.is_file():
            raise BadInput(
                f"{folder}: {shown(name)} is listed in SHA256SUMS but is missing or not a regular file; fetch the "
                "artifact again."
            )
        if _sha256(path) != sha:
            raise BadInput(
                f"{folder}: {shown(name)} has changed since it was packaged: its SHA-256 differs; fetch the artifact "
                "again."
            )
    return _replay(folder, len(listed))


def _read_sums(folder: Path) -> dict[str, str]:
    try:
        lines = read_bounded(folder / SUMS, MAX_TEXT).decode("utf-8").splitlines()
        listed = {name: sha for sha, name in (line.split("  ", 1) for line in lines)}
    except (OSError, ValueError):
        raise BadInput(
            f"{folder} is no artifact: it has no readable SHA256SUMS; name a run's artifact folder."
        ) from None
    outside = next((name for name in listed if not _lies_inside(name)), None)
    if outside is not None:
        raise BadInput(
            f"{folder}/SHA256SUMS lists {shown(outside)}, which lies outside the artifact; do not trust this."
        )
    if "model.onnx" not in listed:
        raise BadInput(f"{folder}/SHA256SUMS does not list model.onnx; fetch the artifact again.")
    return listed


def _lies_inside(name: str) -> bool:
    """Whether it is a plain relative path, spelled in the one way in which the folder's files are compared with it."""
    path = PurePosixPath(name)
    plain = not path.is_absolute() and ".." not in path.parts and path.as_posix() == name != "."
    return plain and not any(letter in name for letter in "\0\\:")


def _refuse_unlisted(folder: Path, listed: dict[str, str]) -> None:
    """Links are refused whatever they point to: what lies behind a linked folder is not seen here, but by others."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise BadInput(f"{folder} holds {shown(name)}, a link; remove it or do not trust this.")
        if not path.is_dir() and name not in listed and name != "SHA256SUMS":
            raise BadInput(
                f"{folder} holds {shown(name)}, which SHA256SUMS does not list; remove it or do not trust this."
            )


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise BadInput(f"{path.parent}: {shown(path.name)} cannot be read ({error.strerror}).") from error


def _replay(folder: Path, files: int) -> Verification:
    parity = read_parity(folder)
    inputs, outputs = read_tensors(folder, parity)
    model, optimised = folder / "model.onnx", folder / "model.ort"
    if any(file != data_file(model) for file in external_files(model)):
        raise BadInput(f"{model} keeps weights elsewhere than in {data_file(model).name}; do not trust this.")
    found = [_difference(model, parity.runtime, parity, inputs, outputs)]
    if optimised.is_file():
        found.append(_difference(optimised, "onnxruntime", parity, inputs, outputs))
    return Verification(
        files=files,
        vectors=len(inputs),
        largest_difference=max(found),
        tolerance=parity.tolerance.output,
        runtime=parity.runtime,
    )


def _difference(
    model: Path, runtime: str, parity: Parity, inputs: npt.NDArray[Any], outputs: list[npt.NDArray[np.float32]]
) -> float:
    """The largest difference from the outputs that are expected, relative to the largest of them."""
    options = on_this_machine(parity.session) if runtime == parity.runtime else {}
    actual = predict_all(model, [inputs], runtime=runtime, options=options)
    given, held = ([output.shape for output in side] for side in (actual, outputs))
    if given != held:
        raise BadInput(
            f"{model} gives outputs of shape {', '.join(map(str, given))}, parity/ holds {', '.join(map(str, held))}; "
            "fetch the artifact again."
        )
    difference = max(relative_difference(kept, said) for said, kept in zip(actual, outputs, strict=True))
    if not difference <= parity.tolerance.output:
        raise BadInput(
            f"{model} gives outputs that differ by {difference:.1%} from those in parity/, "
            f"{parity.tolerance.output:.0%} is allowed; this machine's {runtime} computes something else than "
            "was tested."
        )
    return difference
