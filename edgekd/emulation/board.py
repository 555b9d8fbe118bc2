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
from edgekd.emulation.runtime_library import fetch_library, find_library

_log = logging.getLogger(__name__)
_FOLDER = "files"


def find_board_files(version: str) -> Path | None:
    """Return the folder of all that is sent, with that version of ONNX Runtime; None where a part is missing."""
    libraries, library, program = find_libraries(), find_library(checked_version(version)), find_part(*_program())
    if libraries is None or library is None or program is None:
        return None
    part = find_part(*_links(libraries, library, program[0]))
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
    program, _ = make_part(*_program(), build_benchmark)
    _log.info("the benchmark program is there")

    def link(folder: Path) -> Origin:
        files = folder / _FOLDER
        files.mkdir()
        for file in (*(libraries / name for name in (*NEEDED, *STUBS)), library, program / BENCHMARK):
            if file.is_file():
                (files / file.name).symlink_to(file)
        return Origin(made="links to other parts")

    make_part(*_links(libraries, library, program), link)


def board_parts(version: str) -> tuple[KitPart, ...]:
    """Return the parts of what is sent, and which of them are there."""
    program = find_part(*_program())
    return (
        described_part("C and C++ libraries for AArch64", find_libraries()),
        described_part(f"ONNX Runtime {version} for AArch64", find_library(checked_version(version))),
        described_part("benchmark program for AArch64", program[0] if program else None),
    )


def command(folder: str) -> list[str]:
    """Return the words that start the program where the files lie in that folder: by their own loader, which looks
    there for libraries before it looks where the system keeps its own."""
    return [f"{folder}/{LOADER}", "--library-path", folder, f"{folder}/{BENCHMARK}"]


def _program() -> tuple[str, dict[str, Any]]:
    made_from = benchmark_made_from()
    return part_name("benchmark", made_from), made_from


def _links(*parts: Path) -> tuple[str, list[str]]:
    """One folder of links, for a place is sent folders."""
    made_from = [str(part) for part in parts]
    return part_name("board", made_from), made_from
