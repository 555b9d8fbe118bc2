"""One zip file of an artifact: the same bytes for the same artifact, whenever and from wherever it is packed."""

import hashlib
import os
import zipfile
from pathlib import Path

from edgekd.artifact.identity import SUMS, read_sums
from edgekd.errors import BadInput, UsageError
from edgekd.formats.zip_members import shown
from edgekd.record import Record
from edgekd.workspace import file_sha256

TOP = "artifact"
"""Folder inside the zip."""
LEVEL = 9
FIRST_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip can hold."""
_UNIX, _PLAIN_FILE = 3, 0o100644
_CHUNK = 2**20


class Packed(Record):
    """The zip that was written; `files` is how many it holds."""

    path: str
    sha256: str
    size_bytes: int
    files: int


def write_zip(folder: Path, out: Path) -> Packed:
    """Write every file that SHA256SUMS lists, and it, in the order of their names; `out` never shows half of it.

    Raises:
        UsageError: `out` lies in `folder`, where the artifact would no longer verify, is a folder, or in none.
        BadInput: a file is not what SHA256SUMS says.
    """
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise UsageError(f"--out {out} is {'a folder' if out.is_dir() else 'in no folder that exists'}; name a file.")
    if out.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"--out {out} lies in the artifact, which would not verify any more; name another place.")
    listed = read_sums(folder)
    names = sorted([*listed, SUMS])
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive:
                for name in names:
                    _add(archive, folder, name, listed.get(name))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    return Packed(path=str(out), sha256=file_sha256(out), size_bytes=out.stat().st_size, files=len(names))


def _add(archive: zipfile.ZipFile, folder: Path, name: str, sha: str | None) -> None:
    entry = zipfile.ZipInfo(f"{TOP}/{name}", FIRST_DATE)
    entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, _UNIX, _PLAIN_FILE << 16
    entry.file_size = (folder / name).stat().st_size  # decides whether the entry is one of over 4 GiB
    digest = hashlib.sha256()
    with (folder / name).open("rb") as source, archive.open(entry, "w") as target:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            target.write(chunk)
    if sha is not None and digest.hexdigest() != sha:
        raise BadInput(f"{folder}: {shown(name)} changed while it was packed; pack the artifact again.")
