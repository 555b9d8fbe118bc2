"""What an artifact is: manifest.json says what it was made from, SHA256SUMS what every file in it must be."""

import json
from pathlib import Path
from typing import Any

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
    (folder / SUMS).write_text("".join(f"{sha}  {name}\n" for name, sha in hashes(folder).items()), encoding="utf-8")
    return hashes(folder)


def hashes(folder: Path) -> dict[str, str]:
    """File in `folder` to its SHA-256, sorted."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in BOOKKEEPING)
    return {p.relative_to(folder).as_posix(): file_sha256(p) for p in files}
