"""What a place has and lacks: libraries, CPU features that decide int8, state, disk, and what to do about it."""

import importlib.metadata
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd.device import DeviceProfile, resolve
from edgekd.emulation.board import board_parts, install_board_files
from edgekd.emulation.kit import KitPart, find_kit, install_kit, kit_parts
from edgekd.errors import PlaceLost, UsageError
from edgekd.machine_facts import FLAGS
from edgekd.places.compiled import version_sent
from edgekd.places.emulate import KIND, parse_emulated
from edgekd.places.environment import THROTTLED_NOW, environment
from edgekd.places.host import PLACE
from edgekd.places.look import Look, look_at
from edgekd.places.programs import COMPILED
from edgekd.record import Record


class Check(Record):
    """One thing looked at; `advice` is empty where nothing needs doing."""

    name: str
    found: str
    good: bool
    advice: str = ""


class Diagnosis(Record):
    """`doctor --json`."""

    checks: tuple[Check, ...]
    environment: dict[str, object]


_LIBRARIES = {
    "onnxruntime": "pip install edgekd",
    "onnx": "pip install edgekd",
    "torch": "pip install 'edgekd[compress]'",
    "timm": "pip install 'edgekd[compress]'",
    "torch-pruning": "pip install 'edgekd[compress]'",
    "openvino": "pip install 'edgekd[openvino]'",
}
_INT8_FLAGS = frozenset(("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"))
_RUN_NEEDS = 4096, "a run with many images writes several GiB"
_BENCH_NEEDS = 256, "the model and its samples must fit there"
"""Free disk in MiB, and what for."""


def diagnose(target: str | None = None, *, on: str = PLACE, install: bool = False) -> Diagnosis:
    """Look at a place, and with a target at what its profile asks of the files made here and of the place.

    Of an emulated core it is looked at what emulating it takes, of a board without Python at what is sent there; with
    `install`, what is missing of that is fetched first. Unless `on` says which version of ONNX Runtime is to be
    emulated, it is the target's.

    Raises:
        UsageError: an unknown target, or a place that is none, that nothing can be run on, or that nothing is
            installed for.
        PlaceLost: a place that cannot be reached, or something that cannot be fetched.
    """
    if on.startswith(KIND):
        return Diagnosis(checks=tuple(_emulation(on, target, install)), environment=environment())
    if install and on == PLACE:
        raise UsageError("--install needs --on and an emulated core, such as emulate:cortex-a76, or a board.")
    look, here = look_at(on), on == PLACE
    if install and look.compiled:
        install_board_files(version_sent())
        look = look_at(on)
    checks = [_library(name, command) for name, command in _LIBRARIES.items()] if here else _there(look)
    checks += [_loads(look), _int8(look.facts), _governor(look.facts), _state(look.facts)]
    if here:
        checks += [_disk(shutil.disk_usage(Path.cwd()).free // 2**20, *_RUN_NEEDS), _accelerator()]
    else:
        checks += [_disk(look.facts["disk_free_mib"], *_BENCH_NEEDS)]
    if target:
        checks += _target(target)
        checks += [] if here else [_likeness(look, resolve(target).profile)]
    return Diagnosis(checks=tuple(checks), environment=look.facts)


def _there(look: Look) -> list[Check]:
    named = {"place": look.place, "Python": str(look.facts["python"] or "not there")}
    checks = [Check(name=name, found=found, good=True) for name, found in named.items()]
    if look.compiled:
        checks.append(Check(name="benchmarks", found=f"by {COMPILED}, which is sent there", good=True))
        return checks + _parts(board_parts(version_sent()), look.place)
    return checks + [_library_there(look, name) for name in ("onnxruntime", "numpy")]


def _library_there(look: Look, name: str) -> Check:
    version = look.facts["versions"][name]
    advice = "" if version else f"there: {look.python} -m pip install {name}"
    return Check(name=name, found=version or "not installed", good=bool(version), advice=advice)


def _loads(look: Look) -> Check:
    found = f"opset up to {look.max_opset}, IR up to {look.max_ir}" if look.max_opset else "nothing"
    return Check(name="onnxruntime loads", found=found, good=look.max_opset > 0)


def _state(there: Mapping[str, Any]) -> Check:
    """Clock, temperature and throttling, as far as the place tells them."""
    told = [f"{there['clock_mhz']:.0f} MHz"] if "clock_mhz" in there else []
    told += [f"{there['temperature_c']:.0f} degrees C"] if "temperature_c" in there else []
    throttled = bool(int(there.get("throttled", 0)) & THROTTLED_NOW)
    told += ["throttled"] if throttled else []
    advice = "cool it, or give it a stronger power supply, before anything is timed" if throttled else ""
    return Check(
        name="clock and temperature", found=", ".join(told) or "not readable", good=not throttled, advice=advice
    )


def _likeness(look: Look, profile: DeviceProfile) -> Check:
    """Where the place is not what the profile says: a figure from there then is not one of the target."""
    there = look.facts
    flags = set(there["flags"])
    missing = sorted(flag for flag in profile.isa if flag in FLAGS and flag not in flags)
    runtime = profile.runtimes.get("onnxruntime")
    faults = [f"lacks {', '.join(missing)}"] if missing else []
    beyond = sorted(_INT8_FLAGS & (flags - set(profile.isa)))
    faults += [f"has {', '.join(beyond)} besides"] if beyond else []
    if there["cores"] < profile.cores:
        faults.append(f"has {there['cores']} cores of {profile.cores}")
    if (there["memory_mib"] or profile.memory_mib) < 0.8 * profile.memory_mib:
        faults.append(f"has {there['memory_mib']:,} MiB of memory of {profile.memory_mib:,}")
    if runtime and look.max_opset and (look.max_opset < runtime.max_opset or look.max_ir < runtime.max_ir):
        faults.append(f"loads less than opset {runtime.max_opset} or IR {runtime.max_ir}")
    advice = f"figures from there are not those of {profile.name}" if faults else ""
    found = "; ".join(faults) or "as the profile says"
    return Check(name=f"like {profile.name}", found=found, good=not faults, advice=advice)


def _library(name: str, install: str) -> Check:
    try:
        return Check(name=name, found=importlib.metadata.version(name), good=True)
    except importlib.metadata.PackageNotFoundError:
        return Check(name=name, found="not installed", good=False, advice=install)


def _int8(here: Mapping[str, Any]) -> Check:
    flags = here.get("flags")
    features = set(flags) if isinstance(flags, list) else set()
    fast = features & _INT8_FLAGS
    found = ", ".join(sorted(fast)) or "no int8 dot product"
    advice = "" if fast else "int8 will hardly be faster than fp32 here; targets are estimated all the same"
    return Check(name="int8 instructions", found=found, good=bool(fast), advice=advice)


def _governor(here: Mapping[str, Any]) -> Check:
    governor = here.get("governor")
    steady = governor in (None, "performance")
    advice = "" if steady else "benchmarks are steadier with the performance governor"
    return Check(name="clock governor", found=str(governor or "not readable"), good=steady, advice=advice)


def _disk(free_mib: int | None, needed_mib: int, why: str) -> Check:
    good = free_mib is None or free_mib >= needed_mib
    found = "not readable" if free_mib is None else f"{free_mib:,} MiB"
    return Check(name="free disk", found=found, good=good, advice="" if good else f"{why}; free some space")


def _accelerator() -> Check:
    try:
        importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return Check(name="accelerator", found="not known without torch", good=True)
    from edgekd.accelerator import cuda_name

    name = cuda_name()
    return Check(name="accelerator", found=name or "none, training runs on the CPU", good=True)


def _target(target: str) -> list[Check]:
    resolved = resolve(target)
    profile = resolved.profile
    checks = [Check(name="target", found=resolved.note or profile.name, good=True)]
    for name, runtime in profile.runtimes.items():
        found = (
            f"{runtime.version}: opset up to {runtime.max_opset}, IR up to {runtime.max_ir}, {runtime.threads} threads"
        )
        checks.append(Check(name=f"{name} on {profile.name}", found=found, good=True))
    return checks


def _emulation(place: str, target: str | None, install: bool) -> list[Check]:
    if target and "@" not in place:
        place += f"@{resolve(target).profile.runtimes['onnxruntime'].version}"
    core, version = parse_emulated(place)
    if install:
        install_kit(core, version)
    checks = _parts(kit_parts(version), f"{KIND}{core}@{version}")
    if all(check.good for check in checks):
        checks.append(_core(core, version))
    return checks


def _parts(parts: Sequence[KitPart], place: str) -> list[Check]:
    return [
        Check(
            name=part.name,
            found=f"{part.found}{_took(part)}" or "missing",
            good=bool(part.found),
            advice="" if part.found else f"edgekd doctor --on {place} --install",
        )
        for part in parts
    ]


def _core(core: str, version: str) -> Check:
    try:
        kit = find_kit(core, version)
    except PlaceLost as error:
        return Check(name=core, found="not there", good=False, advice=str(error))
    return Check(name=core, found=f"played by QEMU {kit.qemu.version} as -cpu {kit.core.cpu}", good=True)


def _took(part: KitPart) -> str:
    fetched = f"{part.bytes_fetched / 1e6:.1f} MB fetched, " if part.bytes_fetched else ""
    return f" ({fetched}{part.seconds:.0f} s)" if part.seconds else ""
