"""Check an artifact: every file is listed and unchanged, and the model still gives the outputs it was shipped with."""

import io
import json
import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.errors import BadInput
from edgekd.external_data import data_file
from edgekd.formats.onnx_file import external_files
from edgekd.formats.zip_members import open_archive, read_member, shown
from edgekd.record import Record
from edgekd.runtimes import RUNTIMES, predict_all
from edgekd.schemes.offered import NATIVE, PRECISION, on_this_machine
from edgekd.workspace import file_sha256

MAX_TEXT = 2**20
"""Bytes of SHA256SUMS and of parity.json; a real one has a few thousand."""
MAX_VECTORS = 2**28
"""Bytes of one array of parity vectors: eight images of 3 x 1024 x 1024 floats are 96 MiB."""


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
        lines = _read_text(folder / "SHA256SUMS").splitlines()
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


@dataclass(frozen=True)
class _Expected:
    """What the vectors were taken with, and how far from them outputs may be, relative to the largest value."""

    runtime: str
    tolerance: float
    session: dict[str, str]


def _replay(folder: Path, files: int) -> Verification:
    expected = _read_expectation(folder)
    inputs, outputs = _read_vectors(folder / "parity" / "vectors.npz")
    model, optimised = folder / "model.onnx", folder / "model.ort"
    if any(file != data_file(model) for file in external_files(model)):
        raise BadInput(f"{model} keeps weights elsewhere than in {data_file(model).name}; do not trust this.")
    found = [_difference(path, expected, inputs, outputs) for path in (model, optimised) if path.is_file()]
    return Verification(
        files=files,
        vectors=len(inputs),
        largest_difference=max(found),
        tolerance=expected.tolerance,
        runtime=expected.runtime,
    )


def _difference(
    model: Path, expected: _Expected, inputs: npt.NDArray[Any], outputs: list[npt.NDArray[np.float32]]
) -> float:
    """The largest difference from the outputs that were packaged, relative to the largest of them."""
    options = on_this_machine(expected.session)
    actual = predict_all(model, [inputs], runtime=expected.runtime, options=options)
    given, held = ([output.shape for output in side] for side in (actual, outputs))
    if given != held:
        raise BadInput(
            f"{model} gives outputs of shape {', '.join(map(str, given))}, parity/vectors.npz holds "
            f"{', '.join(map(str, held))}; fetch the artifact again."
        )
    difference = max(
        float(np.abs(said - kept).max() / max(1e-12, float(np.abs(kept).max())))
        for said, kept in zip(actual, outputs, strict=True)
    )
    if not difference <= expected.tolerance:
        raise BadInput(
            f"{model} gives outputs that differ by {difference:.1%} from parity/vectors.npz, {expected.tolerance:.0%} "
            f"is allowed; this machine's {expected.runtime} computes something else than was tested."
        )
    return difference


def _read_expectation(folder: Path) -> _Expected:
    """A tolerance of 1 and more would let anything pass, and an option other than a precision might have the runtime
    write files."""
    path = folder / "parity" / "parity.json"
    try:
        found = json.loads(_read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} cannot be read as JSON ({_reason(error)}); fetch the artifact again.") from error
    runtime, tolerance = (found.get("runtime"), found.get("relative_tolerance")) if isinstance(found, dict) else ("", 0)
    if not isinstance(runtime, str) or runtime not in RUNTIMES:
        raise BadInput(f"{path}: runtime is {shown(runtime)}, known: {', '.join(RUNTIMES)}; fetch the artifact again.")
    if not isinstance(tolerance, float) or not 0 < tolerance < 1:
        raise BadInput(
            f"{path}: relative_tolerance is {shown(tolerance)}, a number between 0 and 1 is wanted; fetch the artifact "
            "again."
        )
    session = found.get("session", {})
    if session not in ({}, *({PRECISION: name} for name in NATIVE)):
        raise BadInput(f"{path}: session is {shown(session)}, a precision is wanted; fetch the artifact again.")
    return _Expected(runtime, tolerance, session)


def _read_vectors(path: Path) -> tuple[npt.NDArray[Any], list[npt.NDArray[np.float32]]]:
    """Return the inputs float32 or int64 (vectors, ...) and the outputs that belong to them, float32 (vectors, ...)."""
    with open_archive(path) as archive:
        names = archive.namelist()
        if "input.npy" not in names or len(names) < 2:
            raise BadInput(
                f"{path} holds no {'outputs' if 'input.npy' in names else 'input.npy'}; fetch the artifact again."
            )
        arrays = {name: _array(path, name, read_member(path, archive, name, MAX_VECTORS)) for name in names}
    inputs = arrays.pop("input.npy")
    outputs = list(arrays.values())
    counts = {len(output) for output in outputs}
    if not len(inputs) or counts != {len(inputs)} or not all(output.size for output in outputs):
        raise BadInput(f"{path} holds {len(inputs)} inputs and {min(counts)} outputs; fetch the artifact again.")
    return inputs, [output.astype(np.float32, copy=False) for output in outputs]


def _array(path: Path, name: str, data: bytes) -> npt.NDArray[Any]:
    """Read one float32 or int64 array whose header says as many elements as there are bytes; nothing is unpickled."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, in_columns, dtype = read(stream)
    except Exception as error:  # the header is Python source, and reading it fails in as many ways
        raise BadInput(f"{path}: {name} is no array ({_reason(error)}); fetch the artifact again.") from error
    left = len(data) - stream.tell()
    known = dtype == np.float32 or dtype == np.int64
    if not known or not shape or min(shape) < 0 or math.prod(shape) * dtype.itemsize != left:
        raise BadInput(
            f"{path}: {name} says {shown(dtype)} of shape {shown(shape)} and holds {left} bytes; float32 or int64 "
            "(vectors, ...) is wanted: fetch the artifact again."
        )
    array = np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape, order="F" if in_columns else "C")
    if not np.isfinite(array).all():
        raise BadInput(f"{path}: {name} holds values that are not finite; fetch the artifact again.")
    return array


def _read_text(path: Path) -> str:
    """Raises OSError or ValueError (of which a wrong encoding is one)."""
    if path.is_symlink() or not path.is_file():
        raise OSError("missing or not a regular file")
    if path.stat().st_size > MAX_TEXT:
        raise ValueError(f"more than {MAX_TEXT} bytes")
    return path.read_text(encoding="utf-8")


def _reason(error: BaseException) -> str:
    return shown((str(error).strip().splitlines() or [type(error).__name__])[0])
