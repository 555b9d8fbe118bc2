"""QEMU's user-mode emulator: the system's where it loads plugins, else Debian's, unpacked."""

import platform
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from edgekd.emulation.fetch import fetch_debian
from edgekd.emulation.part import Origin, find_part, make_part
from edgekd.errors import PlaceLost
from edgekd.system_programs import run_quietly

PROGRAM = "qemu-aarch64"
PACKAGE = "qemu-user"
_PART = "qemu"
_WITH_PLUGINS = "bookworm"
"""The last release of Debian whose package loads plugins."""
_MADE_FROM = {"package": PACKAGE, "host": platform.machine()}


@dataclass(frozen=True)
class Qemu:
    """The emulator: its program, its version, the cores it knows, and the folders of libraries it needs."""

    program: Path
    version: str
    cpus: frozenset[str]
    libraries: tuple[Path, ...] = field(default=())

    @property
    def plugin_api(self) -> int:
        """Version of the plugin interface to compile for: 1 up to QEMU 8, 2 in 9.0, and 3 or later since 9.1."""
        major, minor = (int(number) for number in self.version.split(".")[:2])
        return 1 if major < 9 else 2 if (major, minor) == (9, 0) else 3

    def command(self, cpu: str, *, sysroot: Path, plugin: str = "") -> list[str]:
        """Return the words before the program that is to run."""
        unset = ["-U", "LD_LIBRARY_PATH"] if self.libraries else []
        words = [str(self.program), *unset, "-seed", "0", "-cpu", cpu, "-L", str(sysroot)]
        return [*words, *(["-plugin", plugin] if plugin else [])]

    def environment(self) -> dict[str, str]:
        """Return the environment to start it in.

        The runtime's telemetry is off: its thread would be counted too. Nothing else of this process's own is handed
        on, for what lies on the stack moves what lies behind it, and with that the count by a few instructions.
        """
        own = {"LD_LIBRARY_PATH": ":".join(map(str, self.libraries))} if self.libraries else {}
        return {"ORT_DISABLE_TELEMETRY": "1", **own}


def find_qemu() -> Qemu | None:
    """Return the system's emulator, else the one in the cache; None where neither is there and loads plugins."""
    system = shutil.which(PROGRAM)
    if system:
        found = _look_at(Path(system), ())
        if found is not None:
            return found
    part = find_part(_PART, _MADE_FROM)
    return _look_at(part[0] / "usr" / "bin" / PROGRAM, _library_folders(part[0])) if part else None


def fetch_qemu() -> Qemu:
    """Fetch Debian's emulator into the cache. Raises PlaceLost where that fails, or it does not run here."""
    folder, _ = make_part(_PART, _MADE_FROM, _unpack)
    found = _look_at(folder / "usr" / "bin" / PROGRAM, _library_folders(folder))
    if found is None:
        raise PlaceLost(
            f"The {PROGRAM} of Debian's {PACKAGE} does not run here; install {PACKAGE} by the system's means."
        )
    return found


def _unpack(folder: Path) -> Origin:
    """Fetch the system's own release, or where that was built without plugins, as Debian 13's was, one that has them.

    Only the emulator and libraries are kept: the package holds thirty emulators.
    """
    origin = fetch_debian([PACKAGE], folder)
    if _look_at(folder / "usr" / "bin" / PROGRAM, _library_folders(folder)) is None:
        shutil.rmtree(folder)
        folder.mkdir()
        origin = fetch_debian([PACKAGE], folder, release=_WITH_PLUGINS)
    for path in (folder / "usr" / "bin").iterdir():
        if path.name != PROGRAM:
            path.unlink()
    return origin


def _library_folders(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted({path.parent for path in folder.rglob("*.so.*")}))


def _look_at(program: Path, libraries: tuple[Path, ...]) -> Qemu | None:
    """Ask a program for its version, its cores, and whether it has plugins."""
    known = Qemu(program, "0.0", frozenset(), libraries)
    told = [_say(known, *words) for words in (["--version"], ["-cpu", "help"], ["-h"])]
    version = re.search(r"version (\d+\.\d+(?:\.\d+)?)", told[0])
    if version is None or "-plugin" not in told[2]:
        return None
    return Qemu(program, version[1], frozenset(told[1].split()), libraries)


def _say(qemu: Qemu, *words: str) -> str:
    try:
        done = run_quietly([str(qemu.program), *words], environment=qemu.environment(), seconds=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
