"""Check an artifact: every file is listed and unchanged, and every graph still gives what the pipeline gave."""

from pathlib import Path

from edgekd.artifact.identity import read_sums
from edgekd.artifact.parity.replay import Replayed, replay
from edgekd.errors import BadInput
from edgekd.formats.zip_members import shown
from edgekd.workspace import file_sha256


class Verification(Replayed):
    """What was checked: how many files are as listed, and what the graphs among them compute."""

    files: int


def verify(artifact: Path | str) -> Verification:
    """Check the hashes in SHA256SUMS, refuse files that are not listed, and replay the parity vectors.

    Raises:
        BadInput: no artifact, or the first thing in it that is missing, changed, unlisted, a link, or computes
            something else.
        UsageError: the runtime that the artifact was made for is not installed.
    """
    folder = Path(artifact)
    listed = read_sums(folder)
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
                f"{folder}: {shown(name)} has changed since it was packaged: its SHA-256 is not that in SHA256SUMS; "
                "fetch the artifact again."
            )
    return Verification(files=len(listed), **dict(replay(folder)))


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
