"""What is sent to a board without Python: the benchmark program, ONNX Runtime, and the C library that both need.

Nothing of the board's own is used but its kernel, so that an Android phone, whose C library is another, will do.
"""

import logging
from pathlib import Path
from typing import Any

from edgekd.emulation.build import BENCHMARK, benchmark_made_from, build_benchmark
from edgekd.emulation.kit import KitPart, checked_version, described_part
from edgekd.emulation.libraries import LOADER, NEEDED, STUBS, fetch_libraries, find_libraries
from edgekd.emulation.part import Origin, find_part, make_part, part_name
from edgekd.emulation.runtime_library import LIBRARY, fetch_library, find_library

_log = logging.getLogger(__name__)
_FOLDER = "files"


def find_board_files(version: str) -> Path | None:
    """Return the folder of all that is sent, with that version of ONNX Runtime; None where a part is missing."""
    libraries, library = find_libraries(), find_library(checked_version(version))
    if libraries is None or library is None:
        return None
    part = find_part(*_part(libraries, library))
    return part[0] / _FOLDER if part else None


def install_board_files(version: str) -> None:
    """Fetch and build what is not there yet, without root rights.

    Raises:
        UsageError: a version that is none.
        PlaceLost: something cannot be fetched.
        EdgekdError: the cache cannot be written, or a compiler refuses.
    """
    checked_version(version)
    libraries = fetch_libraries()
    _log.info("C and C++ libraries for AArch64 are there")
    library = fetch_library(version)
    _log.info("ONNX Runtime %s for AArch64 is there", version)

    def make(folder: Path) -> Origin:
        files = folder / _FOLDER
        files.mkdir()
        for name in (*NEEDED, *STUBS):
            if (libraries / name).is_file():
                (files / name).symlink_to(libraries / name)
        (files / LIBRARY).symlink_to(library)
        return build_benchmark(files)

    make_part(*_part(libraries, library), make)
    _log.info("the benchmark program is there")


def board_parts(version: str) -> tuple[KitPart, ...]:
    """Return what all that is sent is made of, and what of it is there."""
    files = find_board_files(version)
    return (
        described_part("C and C++ libraries for AArch64", find_libraries()),
        described_part(f"ONNX Runtime {version} for AArch64", find_library(version)),
        described_part("benchmark program for AArch64", files),
    )


def command(folder: str) -> list[str]:
    """Return the words that start the program where the files lie in that folder: by their own loader, which looks
    there for libraries before it looks where the system keeps its own."""
    return [f"{folder}/{LOADER}", "--library-path", folder, f"{folder}/{BENCHMARK}"]


def _part(libraries: Path, library: Path) -> tuple[str, dict[str, Any]]:
    made_from = {"program": benchmark_made_from(), "libraries": str(libraries), "library": str(library)}
    return part_name("board", made_from), made_from
