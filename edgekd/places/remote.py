"""A machine behind a command-line client (ssh, adb) as a place: one private folder there, removed at the end."""

import itertools
import json
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from edgekd import benchmark_program, machine_facts
from edgekd.errors import EdgekdError, PlaceLost, UsageError
from edgekd.formats.onnx_file import external_files
from edgekd.places.place import Finished, Place, disk_full
from edgekd.runtimes import in_one_line

OLDEST_PYTHON = (3, 10)
"""What benchmark_program.py is written in."""
QUICK = 60.0
"""Seconds that a command may take that only looks or makes a folder."""
SENDING = 3600.0
"""Seconds that a file may take."""

_BEGINS, _ENDED = b"edgekd: begins\n", b"\nedgekd: exit status "
"""What the far shell writes around a command's output: before it a login may have its say, and without what comes after
it the connection ended, not the command."""
_RUN = 'echo "edgekd: begins"; "$@"; printf "\\nedgekd: exit status %d\\n" "$?"'
_MAKE = 'umask 077; mktemp -d "${TMPDIR:-$1}/edgekd-XXXXXXXX"'


@dataclass(frozen=True)
class Client:
    """How one machine is spoken to.

    Attributes:
        place: as the user wrote it, without the Python.
        python: the Python to use there, a name or a path.
        temporary: the folder there that takes ours.
        connect: reaches the machine, again if need be; raises PlaceLost with the reason.
        shell: runs one line of the far shell and returns what the client returns, stdout as bytes.
        send: copies a file to a path there, whose folder it makes, and returns as `shell` does.
        excuse: turns the client's own complaints into a reason.
    """

    place: str
    python: str
    temporary: str
    connect: Callable[[], None]
    shell: Callable[[str, float], "subprocess.CompletedProcess[bytes]"]
    send: Callable[[Path, str], "subprocess.CompletedProcess[bytes]"]
    excuse: Callable[[str], str]


@contextmanager
def open_remote(client: Client) -> Iterator[Place]:
    """Connect, make a folder of our own, and remove it at the end, also where that end is an interrupt.

    Raises PlaceLost where the machine cannot be reached, EdgekdError where its disk is full.
    """
    client.connect()
    folders, boots = [_made(client)], [_boot(client)]
    sent: dict[Path, str] = {}
    numbers = itertools.count()

    def put(path: Path) -> str:
        path = path.absolute()
        if path not in sent and path.is_dir():
            sent[path] = _send_folder(client, path, f"{folders[-1]}/{next(numbers)}")
        elif path not in sent:
            there = PurePosixPath(folders[-1], str(next(numbers)))
            beside = external_files(path) if path.suffix == ".onnx" else ()
            for file in beside:
                _send(client, file, str(there / file.relative_to(path.parent)))
            # The name is ours: that of the user's file is of no use there, and may hold anything.
            _send(client, path, str(there / f"given{path.suffix}"))
            sent[path] = str(there / f"given{path.suffix}")
        return sent[path]

    def resume() -> None:
        client.connect()
        boots.append(_boot(client))
        if boots[-1] != boots[-2] or ask(client, ["test", "-d", folders[-1]]).code:
            folders.append(_made(client))  # what was there may be lost, or cut short by the power
            sent.clear()

    try:
        yield Place(
            name=client.place,
            python=(client.python,),
            facts=lambda: _facts(client, put(Path(machine_facts.__file__))),
            put=put,
            run=lambda words, seconds: ask(client, words, seconds),
            fetch=lambda path: _fetch(client, path),
            remove=lambda path: _remove(client, str(PurePosixPath(path).parent)),
            resume=resume,
        )
    finally:
        with suppress(PlaceLost):
            _remove(client, *folders)


def ask(client: Client, words: Sequence[str], seconds: float | None = None) -> Finished:
    """Run a command there and return how it ended.

    Raises PlaceLost where that cannot be known. A command that is given its own seconds raises TimeoutExpired.
    """
    try:
        done = client.shell(shlex.join(["sh", "-c", _RUN, "sh", *words]), seconds or QUICK)
    except subprocess.TimeoutExpired as error:
        if seconds is not None:
            raise
        raise PlaceLost(f"{client.place}: no answer in {QUICK:.0f} s.") from error
    stderr = done.stderr.decode(errors="replace")
    stdout, ended, status = done.stdout.partition(_BEGINS)[2].rpartition(_ENDED)
    if not ended:
        raise PlaceLost(f"{client.place}: {client.excuse(stderr)}.")
    code = int(status)
    killed = 128 < code < 160  # a shell says 128 + signal
    return Finished(128 - code if killed else code, stdout, stderr)


def _boot(client: Client) -> bytes:
    """What the kernel calls the present boot; nothing where it does not say."""
    return ask(client, ["cat", benchmark_program.BOOT_ID]).stdout


def _made(client: Client) -> str:
    done = ask(client, ["sh", "-c", _MAKE, "sh", client.temporary])
    if done.code:
        raise EdgekdError(_refused(client.place, "a folder for its files", done.stderr))
    return done.stdout.decode().strip()


def _send(client: Client, file: Path, there: str) -> None:
    try:
        sent = client.send(file, there)
    except subprocess.TimeoutExpired as error:
        raise PlaceLost(f"{client.place}: {file.name!r} was not there after {SENDING:.0f} s.") from error
    if sent.returncode:
        ask(client, ["true"])  # a client's own failure may be either; a lost connection shows here
        raise EdgekdError(_refused(client.place, repr(file.name), sent.stderr.decode(errors="replace")))


def _send_folder(client: Client, folder: Path, there: str) -> str:
    """Send the files of a folder of ours, under their names."""
    files = sorted(folder.iterdir())
    for file in files:
        _send(client, file.resolve(), f"{there}/{file.name}")
    programs = [f"{there}/{file.name}" for file in files if os.access(file, os.X_OK)]
    done = ask(client, ["chmod", "700", *programs])
    if done.code:
        raise EdgekdError(_refused(client.place, "programs", done.stderr))
    return there


def _refused(place: str, what: str, words: str) -> str:
    if disk_full(words):
        return f"{place}: the disk is full there, {what} could not be written; free some space and try again."
    return f"{place}: {what} could not be written there ({in_one_line(words)})."


def _fetch(client: Client, path: str) -> bytes | None:
    done = ask(client, ["cat", path])
    return None if done.code else done.stdout


def _remove(client: Client, *folders: str) -> None:
    ask(client, ["rm", "-rf", *folders])


def _facts(client: Client, program: str) -> dict[str, Any]:
    """What the machine says of itself. Raises UsageError where it has no Python, or one that is too old."""
    done = ask(client, [client.python, program])
    needed = f"Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer with onnxruntime"
    if done.code in (126, 127):
        raise UsageError(
            f"{client.place}: there is no {client.python!r} there; install {needed}, or name where it is: "
            f"{client.place}/path/to/python3"
        )
    try:
        facts = dict(json.loads(done.stdout))
    except (ValueError, TypeError) as error:
        last = in_one_line(done.stderr.strip().rpartition("\n")[2])
        raise UsageError(f"{client.place}: {client.python!r} does not run there ({last}); install {needed}.") from error
    if tuple(int(part) for part in facts["python"].split(".")[:2]) < OLDEST_PYTHON:
        raise UsageError(f"{client.place}: its Python is {facts['python']}; install {needed}.")
    return facts
