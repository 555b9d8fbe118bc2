"""ONNX Runtime's library for AArch64: out of its wheel, and a copy of it that is faster to count with."""

import struct
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from edgekd.emulation.fetch import fetch_wheel, unpack_wheel, wheel_origin
from edgekd.emulation.instructions import HINTS, patterns_in_c, with_hints
from edgekd.emulation.part import Origin, find_part, make_part, part_name
from edgekd.errors import BadInput, PlaceLost

LIBRARY = "libonnxruntime.so"
OLDEST = "1.19"
"""Wheels of earlier versions hold no library of its own, only one for Python."""
_PLATFORMS = tuple(f"manylinux_2_{minor}_aarch64" for minor in (28, 27, 17))
_PYTHONS = ("3.12", "3.11", "3.13", "3.10", "3.14")
"""The library is the same whatever Python the wheel is for; the first that there is a wheel for is taken."""
_EXECUTABLE_SECTION = 0x4


def find_library(version: str) -> Path | None:
    """Return the library of that version in the cache; None where it is not there."""
    part = find_part(_name(version), version)
    return part[0] / LIBRARY if part else None


def fetch_library(version: str) -> Path:
    """Fetch the library of that version into the cache.

    Raises:
        PlaceLost: there is no network, no such version, or none with a library of its own.
    """
    return make_part(_name(version), version, lambda folder: _unpack(version, folder))[0] / LIBRARY


def patched_library(version: str, library: Path) -> Path:
    """Return a copy of the library with hints instead of the vector instructions that multiply and accumulate.

    They are what takes an emulator longest, and the plugin counts the hints as what they stand for. What the copy
    computes is meaningless.
    """

    def patch(folder: Path) -> Origin:
        (folder / LIBRARY).write_bytes(patched(library.read_bytes(), str(library)))
        return Origin(made="patched for counting")

    made_from = {"version": version, "patterns": patterns_in_c(), "hints": HINTS}
    return make_part(part_name(f"{_name(version)}-counting", made_from), made_from, patch)[0] / LIBRARY


def patched(library: bytes, name: str) -> bytes:
    """Return an ELF file for AArch64 with its vector multiplications replaced.

    Only executable sections are touched: older libraries keep constants in the executable segment. Raises BadInput
    where the file is none.
    """
    if library[:6] != b"\x7fELF\x02\x01" or library[18:20] != b"\xb7\x00":
        raise BadInput(f"{name} is no 64-bit ELF file for AArch64; install the kit again.")
    found = bytearray(library)
    (table,) = struct.unpack_from("<Q", found, 40)
    size, count = struct.unpack_from("<HH", found, 58)
    for index in range(count):
        _, kind, flags, _, offset, length = struct.unpack_from("<IIQQQQ", found, table + index * size)
        if kind == 1 and flags & _EXECUTABLE_SECTION:  # PROGBITS: what is in the file
            words = np.frombuffer(found, "<u4", length // 4, offset)
            found[offset : offset + 4 * len(words)] = with_hints(words).tobytes()
    return bytes(found)


def _name(version: str) -> str:
    return f"onnxruntime-{version}"


def _unpack(version: str, folder: Path) -> Origin:
    with tempfile.TemporaryDirectory(prefix="edgekd-wheel-") as scratch:
        wheel = _fetch(version, Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
        library = next((name for name in names if f"/capi/{LIBRARY}" in name), None)
        if library is None:
            raise PlaceLost(
                f"The wheel of ONNX Runtime {version} holds no library of its own, so it cannot be emulated; "
                f"versions from {OLDEST} do."
            )
        notices = [name for name in names if name in ("onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt")]
        unpack_wheel(wheel, [library, *notices], folder)
        (folder / Path(library).name).rename(folder / LIBRARY)
        return wheel_origin(f"the wheel of ONNX Runtime {version} for AArch64", wheel)


def _fetch(version: str, scratch: Path) -> Path:
    for python in _PYTHONS:
        wheel = fetch_wheel(f"onnxruntime=={version}", scratch, platforms=_PLATFORMS, python=python)
        if wheel is not None:
            return wheel
    raise PlaceLost(
        f"pip finds no wheel of ONNX Runtime {version} for AArch64; name a version that was published, or check the "
        "network."
    )
