"""This machine as a place: files stay where they are."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgekd.places.environment import environment
from edgekd.places.place import Finished, Place

PLACE = "host"


@contextmanager
def open_host() -> Iterator[Place]:
    """Open this machine, which is never lost. Its programs are run by the Python that runs edgekd."""
    yield Place(
        name=PLACE,
        # -P: the folder of the program is no place to import from; a file there may be called like a library.
        python=(sys.executable, "-P"),
        facts=environment,
        put=lambda path: str(path.absolute()),
        run=_run,
        fetch=_fetch,
        remove=lambda path: None,  # nothing was copied
        resume=lambda: None,
    )


def _run(words: Sequence[str], seconds: float) -> Finished:
    done = subprocess.run(words, capture_output=True, timeout=seconds, stdin=subprocess.DEVNULL)
    return Finished(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


def _fetch(path: str) -> bytes | None:
    file = Path(path)
    return file.read_bytes() if file.exists() else None
