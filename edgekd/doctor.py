"""What this machine has and lacks: libraries, CPU features that decide int8, disk, and what to do about it."""

import importlib.metadata
import shutil
from pathlib import Path

from edgekd.device import resolve
from edgekd.emulation.kit import KitPart, find_kit, install_kit, kit_parts
from edgekd.errors import PlaceLost, UsageError
from edgekd.places.emulate import KIND, parse_emulated
from edgekd.places.environment import environment
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
_FREE_DISK_MIB = 4096


def diagnose(target: str | None = None, *, on: str | None = None, install: bool = False) -> Diagnosis:
    """Look at this machine, and with a target at what its profile asks of the files made here.

    With `on`, an emulated core, look instead at what emulating it takes; with `install`, fetch what is missing first.
    Unless `on` says which version of ONNX Runtime is to be emulated, it is the target's.

    Raises:
        UsageError: an unknown target or place.
        PlaceLost: something cannot be fetched.
    """
    here = environment()
    if on is not None:
        return Diagnosis(checks=tuple(_emulation(on, target, install)), environment=here)
    if install:
        raise UsageError("--install needs --on and a place, such as --on emulate:cortex-a76.")
    checks = [_library(name, install) for name, install in _LIBRARIES.items()]
    checks += [_int8(here), _governor(here), _disk(), _accelerator()]
    if target:
        checks += _target(target)
    return Diagnosis(checks=tuple(checks), environment=here)


def _library(name: str, install: str) -> Check:
    try:
        return Check(name=name, found=importlib.metadata.version(name), good=True)
    except importlib.metadata.PackageNotFoundError:
        return Check(name=name, found="not installed", good=False, advice=install)


def _int8(here: dict[str, object]) -> Check:
    flags = here.get("flags")
    features = set(flags) if isinstance(flags, list) else set()
    fast = features & {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}
    found = ", ".join(sorted(fast)) or "no int8 dot product"
    advice = "" if fast else "int8 will hardly be faster than fp32 here; targets are estimated all the same"
    return Check(name="int8 instructions", found=found, good=bool(fast), advice=advice)


def _governor(here: dict[str, object]) -> Check:
    governor = here.get("governor")
    steady = governor in (None, "performance")
    advice = "" if steady else "benchmarks are steadier with the performance governor"
    return Check(name="clock governor", found=str(governor or "not readable"), good=steady, advice=advice)


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free // 2**20
    advice = "" if free >= _FREE_DISK_MIB else "a run with many images writes several GiB; free some space"
    return Check(name="free disk", found=f"{free:,} MiB", good=free >= _FREE_DISK_MIB, advice=advice)


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
    if not place.startswith(KIND):
        raise UsageError(
            f"{place[:60]!r} needs nothing that could be looked at from here; try --on emulate:cortex-a76."
        )
    if target and "@" not in place:
        place += f"@{resolve(target).profile.runtimes['onnxruntime'].version}"
    core, version = parse_emulated(place)
    if install:
        install_kit(core, version)
    advice = f"edgekd doctor --on {KIND}{core}@{version} --install"
    checks = [
        Check(
            name=part.name,
            found=f"{part.found}{_took(part)}" or "missing",
            good=bool(part.found),
            advice="" if part.found else advice,
        )
        for part in kit_parts(version)
    ]
    if all(check.good for check in checks):
        checks.append(_core(core, version))
    return checks


def _core(core: str, version: str) -> Check:
    try:
        kit = find_kit(core, version)
    except PlaceLost as error:
        return Check(name=core, found="not there", good=False, advice=str(error))
    return Check(name=core, found=f"played by QEMU {kit.qemu.version} as -cpu {kit.core.cpu}", good=True)


def _took(part: KitPart) -> str:
    fetched = f"{part.bytes_fetched / 1e6:.1f} MB fetched, " if part.bytes_fetched else ""
    return f" ({fetched}{part.seconds:.0f} s)" if part.seconds else ""
