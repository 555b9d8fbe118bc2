"""What a place is: a machine that takes files, runs commands, gives files back, and says what it is."""

import logging
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from edgekd.errors import EdgekdError, PlaceLost

log = logging.getLogger(__name__)

BACK_OFF = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds to wait before each further try to reach a place that went away."""

FULL = ("No space left on device", "Disk quota exceeded", "File too large", "File size limit exceeded")
"""How systems and shells say that a file could not grow."""

SMALL = 120.0
"""Seconds that a program may take there that only looks."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Finished:
    """A command that ended by itself; `code` is its exit status, or the negative number of the signal that killed it,
    as `subprocess` has it."""

    code: int
    stdout: bytes = b""
    stderr: str = ""


@dataclass(frozen=True)
class Place:
    """One machine, opened. Everything but `name` and `python` may raise PlaceLost, after which `resume` brings the
    place back, or raises it too.

    Attributes:
        name: as it stands beside every figure.
        python: words of the command that runs a Python program there.
        facts: what `machine_facts` says there.
        put: makes a file available there, with the weights that an ONNX file keeps beside itself, and returns its
            path there. It is alone in its folder with those, and is sent once. Of a folder it takes the files, under
            their names, programs as programs. Raises EdgekdError where something cannot be written.
        run: runs a command, words as they are; raises `subprocess.TimeoutExpired` after so many seconds.
        fetch: returns what a file there holds, or None where it is not there.
        remove: removes the folder of that file and all in it.
    """

    name: str
    python: tuple[str, ...]
    facts: Callable[[], dict[str, Any]]
    put: Callable[[Path], str]
    run: Callable[[Sequence[str], float], Finished]
    fetch: Callable[[str], bytes | None]
    remove: Callable[[str], None]
    resume: Callable[[], None]


def run_small(place: Place, words: Sequence[str]) -> Finished:
    """Run a command there that only looks. Raises EdgekdError where it does not end."""
    try:
        return place.run(words, SMALL)
    except subprocess.TimeoutExpired as error:
        raise EdgekdError(f"{place.name}: a small program did not end there in {SMALL:.0f} s.") from error


def disk_full(words: str) -> bool:
    """Whether a command that failed with these words found no space."""
    return any(said in words for said in FULL)


def persistently(place: Place, attempt: Callable[[], Result]) -> Result:
    """Return what `attempt` returns; where the place is lost, resume it and attempt again, a few times.

    Raises PlaceLost, with the reason of the last loss, where it stays away.
    """
    lost: PlaceLost | None = None
    for wait in (*BACK_OFF, None):
        try:
            if lost is not None:
                place.resume()
            return attempt()
        except PlaceLost as error:
            lost = error
        if wait is not None:
            log.warning("%s; trying again in %g s", str(lost).rstrip("."), wait)
            time.sleep(wait)
    raise PlaceLost(f"{str(lost).rstrip('.')}; it did not come back in {len(BACK_OFF)} further tries.") from lost
