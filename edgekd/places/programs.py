"""What runs benchmarks on a place: its Python where that has what it takes, else on AArch64 a program in C."""

import functools
import logging
import shlex
from dataclasses import dataclass
from typing import Any

from edgekd.emulation.board import find_board_files
from edgekd.errors import EdgekdError, UsageError
from edgekd.places.compiled import ARCHITECTURE, facts_of, in_c, version_sent
from edgekd.places.host import PLACE
from edgekd.places.place import Place, persistently
from edgekd.places.process import Send, in_python
from edgekd.runtimes import find_runtime, runtime_named

log = logging.getLogger(__name__)

COMPILED = "a program in C"


@dataclass(frozen=True)
class Program:
    """What runs benchmarks on one place.

    Attributes:
        facts: what the place says of itself, with the versions of the runtimes that the program has, and the program.
        send: puts it there.
    """

    facts: dict[str, Any]
    send: Send


def program_for(place: Place, *runtimes: str) -> Program:
    """Return what runs these runtimes there.

    Raises:
        UsageError: the place's Python is missing, or lacks one of them, and what does without Python is not here, or
            not for that place.
        EdgekdError: its disk has no room for what must be sent.
    """
    if place.name == PLACE:
        for name in runtimes:
            find_runtime(name)
        return _in_python(place.facts())
    for name in runtimes:
        runtime_named(name)
    return persistently(place, lambda: _found(place, runtimes))


def lacking(place: Place, facts: dict[str, Any], *runtimes: str) -> str:
    """What its Python lacks for these runtimes, in a sentence; nothing where it has all."""
    missing = [name for name in dict.fromkeys((*runtimes, "numpy")) if facts["versions"][name] is None]
    install = f"{shlex.join(place.python)} -m pip install {' '.join(missing)}"
    says = f"{place.name}: its Python has no {' and no '.join(missing)}; install what is missing there: {install}"
    return says if missing else ""


def python_is_named(place: Place) -> bool:
    """Whether the user said which Python to use there: a path, and otherwise it is a name."""
    return "/" in place.python[0]


def check_architecture(facts: dict[str, Any], why: str) -> None:
    """Raise UsageError, which begins with `why`, for a machine that the program in C is not made for."""
    there = facts["architecture"] or "unknown"
    if there != ARCHITECTURE:
        raise UsageError(f"{why}; what does without Python is for {ARCHITECTURE} alone, and this is {there[:40]!r}.")


def _found(place: Place, runtimes: tuple[str, ...]) -> Program:
    try:
        facts = place.facts()
        faults = lacking(place, facts, *runtimes)
        if not faults:
            return _in_python(facts)
        raise UsageError(faults)
    except UsageError as error:
        if python_is_named(place) or set(runtimes) != {"onnxruntime"}:
            raise
        return _without_python(place, str(error).rstrip("."))


def _in_python(facts: dict[str, Any]) -> Program:
    return Program({**facts, "program": f"Python {facts['python']}"}, in_python)


def _without_python(place: Place, why: str) -> Program:
    """The program in C; `why` says what Python there lacks."""
    facts, version = facts_of(place), version_sent()
    check_architecture(facts, why)
    files = find_board_files(version)
    if files is None:
        raise UsageError(
            f"{why}; or fetch and build here what does without Python: edgekd doctor --on {place.name} --install"
        )
    size = sum(file.stat().st_size for file in files.iterdir()) // 2**20
    left = facts["disk_free_mib"]
    if left is not None and left < size:
        raise EdgekdError(f"{place.name}: {size} MiB must be sent there, and its disk has {left} left; free some.")
    _say(f"{why.partition('; ')[0]}; {COMPILED} with ONNX Runtime {version} is sent there instead, {size} MiB")
    versions = {**facts["versions"], "onnxruntime": version}
    return Program({**facts, "versions": versions, "program": COMPILED}, in_c(files))


@functools.cache
def _say(words: str) -> None:
    """Once, for a calibration comes to the same place many times."""
    log.warning("%s", words)
