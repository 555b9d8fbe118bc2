"""What an artifact is: manifest.json says what it was made from, SHA256SUMS what every file in it must be."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

from edgekd.artifact.parity.files import MAX_TEXT, read_bounded
from edgekd.errors import BadInput
from edgekd.formats.zip_members import shown
from edgekd.results import Candidate
from edgekd.version import __version__
from edgekd.workspace import BOOKKEEPING, file_sha256

SUMS = "SHA256SUMS"


def write_identity(folder: Path, manifest: dict[str, Any], *, chosen: Candidate, shipped: str) -> dict[str, str]:
    """Write both for the artifact in `folder`, which is otherwise finished; return file to SHA-256, both among them."""
    described = {
        **manifest,
        "shipped": shipped,
        "candidate": chosen.model_dump(mode="json", exclude={"host"}),
        "files": hashes(folder),
    }
    text = json.dumps({"schema": 1, "edgekd": __version__, **described}, indent=1, sort_keys=True)
    (folder / "manifest.json").write_text(text + "\n")
    sums = "".join(f"{sha}  {name}\n" for name, sha in hashes(folder).items())
    (folder / SUMS).write_bytes(sums.encode())
    return hashes(folder)


def hashes(folder: Path) -> dict[str, str]:
    """File in `folder` to its SHA-256, sorted."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in BOOKKEEPING)
    return {p.relative_to(folder).as_posix(): file_sha256(p) for p in files}


def read_sums(folder: Path) -> dict[str, str]:
    """What SHA256SUMS lists: file to SHA-256. Raises BadInput where it cannot be read, or names what lies outside."""
    try:
        *lines, after = read_bounded(folder / SUMS, MAX_TEXT).decode("utf-8").split("\n")
        listed = {name: sha for sha, name in (line.split("  ", 1) for line in lines)}
        if after or len(listed) != len(lines):
            raise ValueError("a line is cut off, or a name is there twice")
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
