"""An Android device behind the system's `adb`: adb://SERIAL, or adb://SERIAL/path/to/python."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekd.errors import PlaceLost, UsageError
from edgekd.places.place import Place
from edgekd.places.remote import QUICK, SENDING, Client, open_remote
from edgekd.runtimes import in_one_line

_ADDRESS = re.compile(r"adb://(?P<serial>[A-Za-z0-9_][A-Za-z0-9_.:-]*)(?P<python>/[^\0\n]*[^/\0\n])?/?")
TEMPORARY = "/data/local/tmp"
"""The one folder that adb's user may write on every device."""


@contextmanager
def open_adb(text: str) -> Iterator[Place]:
    """Open the device of that serial number, as `adb devices` lists it (of one on the network: HOST:PORT).

    Raises UsageError for a wrong address or where adb is missing, and what `open_remote` raises.
    """
    found = _ADDRESS.fullmatch(text)
    if not found:
        raise UsageError(f"{text!r} is no device; write adb://SERIAL as `adb devices` lists it.")
    if shutil.which("adb") is None:
        raise UsageError(f"{text!r} needs adb, which is not installed; install Android's platform tools.")
    place, device = f"adb://{found['serial']}", ["adb", "-s", found["serial"]]

    def connect() -> None:
        try:
            done = _adb([*device, "get-state"], QUICK)
        except subprocess.TimeoutExpired as error:
            raise PlaceLost(f"{place}: adb does not answer; try `adb kill-server`.") from error
        state = done.stdout.decode(errors="replace").strip().rpartition("\n")[2]
        if state != "device":
            raise PlaceLost(f"{place}: {explain(done.stderr.decode(errors='replace') or state)}.")

    def shell(line: str, seconds: float) -> "subprocess.CompletedProcess[bytes]":
        return _adb([*device, "shell", line], seconds)

    def send(file: Path, there: str) -> "subprocess.CompletedProcess[bytes]":
        made = shell(shlex.join(["mkdir", "-p", there.rpartition("/")[0]]), QUICK)
        return made if made.returncode else _adb([*device, "push", str(file.absolute()), there], SENDING)

    client = Client(place, found["python"] or "python3", TEMPORARY, connect, shell, send, explain)
    with open_remote(client) as opened:
        yield opened


def _adb(command: list[str], seconds: float) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        command, capture_output=True, timeout=seconds, stdin=subprocess.DEVNULL, start_new_session=True
    )


def explain(said: str) -> str:
    """Why a device does not answer, from adb's own words, and what to do about it."""
    reasons = {
        "unauthorized": "it has not allowed this computer yet; unlock it and accept the question that it shows",
        "not found": "adb knows no such device; see `adb devices`",
        "offline": "the device is offline; plug it in again",
    }
    last = in_one_line(said.strip().rpartition("\n")[2]) if said.strip() else ""
    known = next((why for words, why in reasons.items() if words in said), None)
    return known or (f"the connection was lost ({last})" if last else "the connection was lost")
