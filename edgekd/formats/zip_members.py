"""Zip archives from strangers: what is inside, checked before a single member is read."""

import re
import zipfile
from pathlib import Path

from edgekd.errors import BadInput

MAX_MEMBERS = 200_000
MAX_INFLATION = 16
"""Declared bytes may exceed the file's own size by this factor; torch stores its members uncompressed, so about 1."""
SMALL_ARCHIVE = 64 * 2**20
"""Below this many declared bytes no archive is called a bomb."""


def shown(name: object) -> str:
    """Quote a name from a file for a message: control characters escaped, at most 80 characters."""
    text = ascii(str(name)[:200])
    return text if len(text) <= 80 else text[:76] + "...'"


def open_archive(path: Path) -> zipfile.ZipFile:
    """Open a zip archive whose member list is sane.

    Raises:
        BadInput: not a zip, damaged, duplicate or escaping member names, links, encryption, or a decompression bomb.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise BadInput(f"{path}: not a complete zip archive ({error}); copy or export the file again") from error
    try:
        _check_members(path, archive)
    except BadInput:
        archive.close()
        raise
    return archive


def _check_members(path: Path, archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise BadInput(f"{path}: {len(members)} members, more than the {MAX_MEMBERS} allowed; this is no model file")
    seen: set[str] = set()
    for member in members:
        name = member.filename
        if name in seen:
            raise BadInput(f"{path}: the member {shown(name)} is there twice; export the model again")
        seen.add(name)
        if _escapes(member.orig_filename) or _escapes(name):
            raise BadInput(f"{path}: the member name {shown(name)} leaves the archive; do not use this file")
        if member.flag_bits & 0x1:
            raise BadInput(f"{path}: the member {shown(name)} is encrypted; export the model again")
        if (member.external_attr >> 16) & 0o170000 == 0o120000:
            raise BadInput(f"{path}: the member {shown(name)} is a link; do not use this file")
    declared = sum(member.file_size for member in members)
    if declared > max(SMALL_ARCHIVE, MAX_INFLATION * path.stat().st_size):
        raise BadInput(f"{path}: declares {declared} bytes of content, far more than the file holds; do not use it")


def _escapes(name: str) -> bool:
    parts = name.split("/")
    return (
        "\0" in name
        or "\\" in name
        or name.startswith("/")
        or re.match(r"[A-Za-z]:", name) is not None
        or ".." in parts
    )


def read_member(path: Path, archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """Return the bytes of one member, at most `limit` of them.

    Raises:
        BadInput: the member is larger than `limit`, damaged (checksum), or cut off.
    """
    size = archive.getinfo(name).file_size
    if size > limit:
        raise BadInput(f"{path}: the member {shown(name)} has {size} bytes, more than the {limit} allowed")
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise BadInput(f"{path}: the member {shown(name)} is damaged ({error}); copy the file again") from error
    except Exception as error:  # zlib.error and lzma errors share no base class
        raise BadInput(f"{path}: the member {shown(name)} cannot be unpacked ({error})") from error


def root_folder(names: list[str]) -> str:
    """Return the one top folder of a torch archive with its slash, or "" where members lie at the top."""
    tops = {name.split("/", 1)[0] for name in names}
    return f"{tops.pop()}/" if len(tops) == 1 and all("/" in name for name in names) else ""
