"""The emulation kit of one core and one version of ONNX Runtime: whether it is there, and fetching what is not."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd.emulation.build import build_tools, tools_made_from
from edgekd.emulation.cores import CORES, Core, Processor, description, find_core, parse_processor
from edgekd.emulation.libraries import fetch_libraries, find_libraries
from edgekd.emulation.part import Origin, facts_of, find_part, make_part, part_name
from edgekd.emulation.qemu import PROGRAM, Qemu, fetch_qemu, find_qemu
from edgekd.emulation.runtime_library import fetch_library, find_library
from edgekd.errors import PlaceLost, UsageError
from edgekd.record import Record
from edgekd.runtimes import in_one_line
from edgekd.system_programs import run_quietly
from edgekd.workspace import fingerprint

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kit:
    """Everything that one emulated run needs."""

    core: Core
    version: str
    qemu: Qemu
    runner: Path
    plugin: Path
    library: Path
    sysroot: Path


class KitPart(Record):
    """One part: where it is from, empty where it is missing; `bytes_fetched` and `seconds` are what getting it took."""

    name: str
    found: str = ""
    bytes_fetched: int = 0
    seconds: float = 0.0


def find_kit(core: str, version: str) -> Kit:
    """Return the kit for a core and a version of ONNX Runtime; nothing is fetched.

    Raises:
        UsageError: an unknown core, or a version that is none.
        PlaceLost: something is missing, or this QEMU does not have the core.
    """
    wanted = find_core(core)
    qemu, libraries, library = find_qemu(), find_libraries(), find_library(checked_version(version))
    tools = find_part(*_tools(qemu)) if qemu else None
    if qemu is None or libraries is None or library is None or tools is None:
        missing = [part.name for part in kit_parts(version) if not part.found]
        raise PlaceLost(
            f"Emulating {core} needs {', '.join(missing)}; "
            f"fetch what is missing with: edgekd doctor --on emulate:{core}@{version} --install"
        )
    _check_core(qemu, wanted)
    runner = tools[0] / "runner"
    return Kit(
        core=wanted,
        version=version,
        qemu=qemu,
        runner=runner,
        plugin=tools[0] / "count.so",
        library=library,
        sysroot=_sysroot(wanted, qemu, runner, libraries),
    )


def install_kit(core: str, version: str) -> Kit:
    """Fetch and build what is not there yet, without root rights, and return the kit.

    Raises:
        UsageError: an unknown core, or a version that is none.
        PlaceLost: something cannot be fetched, or this QEMU does not have the core.
        EdgekdError: the cache cannot be written, or a compiler refuses.
    """
    wanted = find_core(core)
    checked_version(version)
    qemu = find_qemu() or fetch_qemu()
    _check_core(qemu, wanted)
    _log.info("QEMU %s is there", qemu.version)
    fetch_libraries()
    _log.info("C and C++ libraries for AArch64 are there")
    fetch_library(version)
    _log.info("ONNX Runtime %s for AArch64 is there", version)
    make_part(*_tools(qemu), lambda folder: build_tools(folder, qemu.plugin_api))
    _log.info("the runner and the counting plugin are there")
    return find_kit(core, version)


def kit_parts(version: str) -> tuple[KitPart, ...]:
    """Return what the kit for that version of ONNX Runtime consists of, and what of it is there."""
    qemu, libraries = find_qemu(), find_libraries()
    library = find_library(checked_version(version))
    tools = find_part(*_tools(qemu)) if qemu else None
    return (
        described_part(
            f"{PROGRAM} with plugins", qemu.program if qemu else None, f"version {qemu.version}" if qemu else ""
        ),
        described_part("C and C++ libraries for AArch64", libraries),
        described_part(f"ONNX Runtime {version} for AArch64", library),
        described_part("runner and counting plugin", tools[0] / "runner" if tools else None),
    )


def checked_version(version: str) -> str:
    """Return a version of ONNX Runtime. Raises UsageError where it is none, such as 1.31."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise UsageError(f"{version[:40]!r} is no version of ONNX Runtime; write all three numbers, such as 1.31.1.")
    return version


def described_part(name: str, path: Path | None, note: str = "") -> KitPart:
    """Say where a part is from: of the cache its own facts, of the system its path."""
    if path is None:
        return KitPart(name=name)
    facts = facts_of(path)
    if facts is None:
        return KitPart(name=name, found=", ".join(filter(None, (note, f"the system's ({path})"))))
    found = ", ".join(filter(None, (note, facts.origin.made)))
    return KitPart(name=name, found=found, bytes_fetched=facts.origin.bytes_fetched, seconds=facts.seconds)


def _tools(qemu: Qemu) -> tuple[str, dict[str, Any]]:
    made_from = tools_made_from(qemu.plugin_api)
    return part_name("tools", made_from), made_from


def _check_core(qemu: Qemu, core: Core) -> None:
    if core.cpu.partition(",")[0] in qemu.cpus:
        return
    instead = [name for name in CORES if CORES[name].cpu.partition(",")[0] in qemu.cpus]
    near = f"the nearest that it has is emulate:{core.nearest}" if core.nearest else f"it has {', '.join(instead)}"
    raise PlaceLost(f"QEMU {qemu.version} does not have the {core.name}; {near}, or install a newer QEMU.")


def _sysroot(core: Core, qemu: Qemu, runner: Path, libraries: Path) -> Path:
    """The folder that the emulated program sees over this machine's root: libraries, and the processor described."""
    form = fingerprint(description(Processor(0, 0, 0)))
    made_from = {"cpu": core.cpu, "qemu": qemu.version, "libraries": str(libraries), "form": form}

    def make(folder: Path) -> Origin:
        (folder / "lib").symlink_to(libraries)
        command = qemu.command(core.cpu, sysroot=folder)
        done = run_quietly([*command, str(runner)], environment=qemu.environment())
        if done.returncode:
            raise PlaceLost(f"QEMU {qemu.version} does not run a program as {core.name}: {in_one_line(done.stderr)}")
        for path, text in description(parse_processor(done.stdout)).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="ascii")
        return Origin(made="written from what the emulated processor says of itself")

    return make_part(part_name(f"sysroot-{core.name}", made_from), made_from, make)[0]
