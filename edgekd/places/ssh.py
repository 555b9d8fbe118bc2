"""A machine behind the system's `ssh`, which logs in by key.

    ssh://[user@]host[:port][/path/to/python]

The user's own configuration holds (aliases, keys, jump hosts), except for what would change what a command does there.
One connection is shared by all commands.
"""

import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgekd.errors import PlaceLost, UsageError
from edgekd.places.place import Place
from edgekd.places.remote import QUICK, SENDING, Client, open_remote
from edgekd.runtimes import in_one_line

_ADDRESS = re.compile(
    r"ssh://(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.$-]*)@)?"
    r"(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<python>/[^\0\n]*[^/\0\n])?/?"
)

OPTIONS = {
    "BatchMode": "yes",  # nobody is there to type a password
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "15",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ControlPersist": "no",
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "LogLevel": "ERROR",
}

_STORE = 'mkdir -p "${1%/*}" && cat > "$1"'


@dataclass(frozen=True)
class Address:
    """Whom to log in to. `host` may be an alias from the user's configuration."""

    host: str
    user: str | None = None
    port: int | None = None
    python: str = "python3"

    @property
    def place(self) -> str:
        """As it stands beside every figure."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh://{f'{self.user}@' * bool(self.user)}{host}{f':{self.port}' * bool(self.port)}"

    @property
    def words(self) -> list[str]:
        """As `ssh` takes it."""
        user, port = ["-l", self.user] * bool(self.user), ["-p", str(self.port)] * bool(self.port)
        return [*map(str, user), *port, "--", self.host]


def parse_address(text: str) -> Address:
    """Return the parts of an address. Raises UsageError for what is none, a name that begins with "-" among it."""
    found = _ADDRESS.fullmatch(text)
    port = int(found["port"]) if found and found["port"] else None
    if not found or (port is not None and not 0 < port < 65536):
        raise UsageError(
            f"{text!r} is no address of a machine; write ssh://user@host, ssh://user@host:2222 or "
            "ssh://user@host/path/to/python3"
        )
    return Address(found["host"].strip("[]"), found["user"], port, found["python"] or "python3")


@contextmanager
def open_ssh(text: str) -> Iterator[Place]:
    """Log in and open the machine. Raises UsageError for a wrong address, and what `open_remote` raises."""
    address = parse_address(text)
    if shutil.which("ssh") is None:
        raise UsageError(f"{address.place} needs ssh, which is not installed; install OpenSSH's client.")
    with tempfile.TemporaryDirectory(prefix="edgekd-ssh-") as folder:
        socket = ["-S", str(Path(folder, "s"))]
        shared = ["ssh", *socket, *(word for option in OPTIONS.items() for word in ("-o", "=".join(option)))]
        # Where the shared connection is gone, ssh would quietly make another; this ProxyCommand lets that fail.
        through = [*shared, "-o", "ControlMaster=no", "-o", "ProxyCommand=false", *address.words]

        def shell(line: str, seconds: float) -> "subprocess.CompletedProcess[bytes]":
            return _ssh([*through, line], seconds)

        def send(file: Path, there: str) -> "subprocess.CompletedProcess[bytes]":
            with file.open("rb") as content:
                return _ssh([*through, shlex.join(["sh", "-c", _STORE, "sh", there])], SENDING, content)

        def leave() -> None:
            with suppress(subprocess.TimeoutExpired):
                _ssh(["ssh", *socket, "-O", "exit", "--", address.host], QUICK)

        def connect() -> None:
            leave()
            _connect([*shared, "-M", "-N", "-f", *address.words], address, Path(folder, "log"))

        client = Client(address.place, address.python, "/var/tmp", connect, shell, send, excuse)
        try:
            with open_remote(client) as place:
                yield place
        finally:
            leave()


def _connect(command: list[str], address: Address, log: Path) -> None:
    """Start the shared connection, which stays in the background; ssh's words go to a file, which it keeps open."""
    none = subprocess.DEVNULL
    try:
        with log.open("wb") as said:
            done = subprocess.run(command, stdin=none, stdout=none, stderr=said, timeout=QUICK, start_new_session=True)
    except subprocess.TimeoutExpired as error:
        raise PlaceLost(f"{address.place}: logging in did not end in {QUICK:.0f} s.") from error
    if done.returncode:
        raise PlaceLost(f"{address.place}: {explain(log.read_text(errors='replace'), address)}.")


def _ssh(command: list[str], seconds: float, stdin: BinaryIO | None = None) -> "subprocess.CompletedProcess[bytes]":
    """Run the client in a session of its own: Ctrl-C is ours, and the folder there is still removed."""
    return subprocess.run(
        command, capture_output=True, timeout=seconds, stdin=stdin or subprocess.DEVNULL, start_new_session=True
    )


def explain(said: str, address: Address) -> str:
    """Why logging in failed, from ssh's own words, and what to do about it."""
    port = f"-p {address.port} " * bool(address.port)
    login = f"{f'{address.user}@' * bool(address.user)}{address.host}"
    reasons = {
        "IDENTIFICATION HAS CHANGED": "its host key is not the one known here: either it was set up anew, and then "
        "remove the old key with ssh-keygen -R, or somebody answers in its place",
        "host key is known": f"its host key is not known here; log in once to check and accept it: ssh {port}{login}",
        "Host key verification failed": f"its host key is not accepted; log in once to see why: ssh {port}{login}",
        "Permission denied": "it does not let you in by key (one with a passphrase must be in ssh-agent); copy yours "
        f"there: ssh-copy-id {port}{login}",
    }
    return next((why for words, why in reasons.items() if words in said), f"it cannot be reached ({_last(said)})")


def excuse(said: str) -> str:
    """Why a connection ended, in ssh's words, or without any."""
    return "the connection was lost" + (f" ({_last(said)})" if said.strip() else "")


def _last(said: str) -> str:
    return in_one_line(said.strip().rpartition("\n")[2])
