"""One part of the kit: a folder in the cache that is whole and unchanged, or not there."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import ValidationError

from edgekd.errors import EdgekdError
from edgekd.record import Record
from edgekd.resources import cache_folder
from edgekd.workspace import file_sha256, fingerprint, write_atomic

_DONE = "part.json"


class Origin(Record):
    """Where a part came from: what was fetched, by file name with its SHA-256, and how it was made, in words."""

    made: str
    fetched: dict[str, str] = {}
    bytes_fetched: int = 0


class PartFacts(Record):
    """What is written beside a part's files: their hashes, and what making it took."""

    key: str
    origin: Origin
    seconds: float
    files: dict[str, str]


def kit_folder() -> Path:
    """The folder of all parts."""
    return cache_folder() / "emulation"


def part_name(kind: str, made_from: Any) -> str:
    """Return a name for a part that edgekd makes itself, so that what two versions of it make stands side by side."""
    return f"{kind}-{fingerprint(made_from)[:12]}"


def find_part(name: str, made_from: Any) -> tuple[Path, PartFacts] | None:
    """Return a part's folder and facts; None where it is missing, made from something else, or changed since."""
    folder = kit_folder() / name
    try:
        facts = PartFacts.model_validate_json((folder / _DONE).read_bytes())
        whole = all(file_sha256(folder / file) == sha for file, sha in facts.files.items())
    except (OSError, ValidationError):
        return None
    return (folder, facts) if whole and facts.key == fingerprint(made_from) else None


def facts_of(path: Path) -> PartFacts | None:
    """Return the facts of the part that a file or folder belongs to; None where it belongs to none."""
    root = kit_folder()
    if root not in path.parents:
        return None
    return PartFacts.model_validate_json((root / path.relative_to(root).parts[0] / _DONE).read_bytes())


def make_part(name: str, made_from: Any, make: Callable[[Path], Origin]) -> tuple[Path, PartFacts]:
    """Return a part, made by `make` in an empty folder where it is not there whole.

    Two processes never make parts at the same time; a part shows under its name only when it is finished.

    Raises:
        EdgekdError: the cache cannot be written.
    """
    found = find_part(name, made_from)
    if found is not None:
        return found
    root = kit_folder()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / "lock"):
            return find_part(name, made_from) or _make(root, name, fingerprint(made_from), make)
    except OSError as error:
        raise EdgekdError(
            f"The emulation kit cannot be written to {root} ({error.strerror or error}); free some space or set "
            "XDG_CACHE_HOME to a folder that can be written."
        ) from error


def _make(root: Path, name: str, key: str, make: Callable[[Path], Origin]) -> tuple[Path, PartFacts]:
    partial, final, stale = (root / f"{name}{suffix}" for suffix in (".partial", "", ".stale"))
    for leftover in (partial, stale):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir()
    began = time.monotonic()
    try:
        origin = make(partial)
        files = sorted(path for path in partial.rglob("*") if path.is_file() and not path.is_symlink())
        facts = PartFacts(
            key=key,
            origin=origin,
            seconds=round(time.monotonic() - began, 2),
            files={str(path.relative_to(partial)): file_sha256(path) for path in files},
        )
        write_atomic(partial / _DONE, json.dumps(facts.model_dump(mode="json"), indent=1).encode())
        if final.exists():
            final.rename(stale)
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(stale, ignore_errors=True)
    return final, facts
