"""What a place has and lacks: libraries, CPU features that decide int8, state, disk, and what to do about it."""

import importlib.metadata
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekd.device import DeviceProfile, resolve
from edgekd.machine_facts import FLAGS
from edgekd.places.environment import THROTTLED_NOW, environment
from edgekd.places.host import PLACE
from edgekd.places.look import Look, look_at
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


def diagnose(target: str | None = None, *, on: str = PLACE) -> Diagnosis:
    """Look at a place, and with a target at what its profile asks of the files made here and of the place.

    Raises:
        UsageError: an unknown target, or a place that is none or has no Python.
        PlaceLost: a place that cannot be reached.
    """
    if on != PLACE:
        return _diagnose_there(look_at(on), target)
    here = environment()
    checks = [_library(name, install) for name, install in _LIBRARIES.items()]
    checks += [_int8(here), _governor(here), _disk(), _accelerator()]
    if target:
        checks += _target(target)
    return Diagnosis(checks=tuple(checks), environment=here)


def _diagnose_there(look: Look, target: str | None) -> Diagnosis:
    there = look.facts
    python = str(there["python"])
    checks = [Check(name="place", found=look.place, good=True), Check(name="Python", found=python, good=True)]
    checks += [_library_there(look, name) for name in ("onnxruntime", "numpy")]
    if look.max_opset:
        found = f"opset up to {look.max_opset}, IR up to {look.max_ir}"
        checks.append(Check(name="onnxruntime loads", found=found, good=True))
    checks += [_int8(there), _governor(there), _state(there)]
    if target:
        checks += [*_target(target), *_unlike(look, resolve(target).profile)]
    return Diagnosis(checks=tuple(checks), environment=there)


def _library_there(look: Look, name: str) -> Check:
    version = look.facts["versions"][name]
    advice = "" if version else f"there: {look.python} -m pip install {name}"
    return Check(name=name, found=version or "not installed", good=bool(version), advice=advice)


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


def _unlike(look: Look, profile: DeviceProfile) -> list[Check]:
    """Where the place is less than the profile says: a figure from there then is not one of the target."""
    there = look.facts
    flags = set(there["flags"])
    missing = sorted(flag for flag in profile.isa if flag in FLAGS and flag not in flags)
    runtime = profile.runtimes.get("onnxruntime")
    faults = [f"lacks {', '.join(missing)}"] if missing else []
    if there["cores"] < profile.cores:
        faults.append(f"has {there['cores']} cores of {profile.cores}")
    if there["memory_mib"] < 0.8 * profile.memory_mib:
        faults.append(f"has {there['memory_mib']:,} MiB of memory of {profile.memory_mib:,}")
    if runtime and look.max_opset and (look.max_opset < runtime.max_opset or look.max_ir < runtime.max_ir):
        faults.append(f"loads less than opset {runtime.max_opset} or IR {runtime.max_ir}")
    advice = f"figures from there are not those of {profile.name}" if faults else ""
    found = "; ".join(faults) or "nothing less than the profile says"
    return [Check(name=f"as a {profile.name}", found=found, good=not faults, advice=advice)]


def _library(name: str, install: str) -> Check:
    try:
        return Check(name=name, found=importlib.metadata.version(name), good=True)
    except importlib.metadata.PackageNotFoundError:
        return Check(name=name, found="not installed", good=False, advice=install)


def _int8(here: Mapping[str, Any]) -> Check:
    flags = here.get("flags")
    features = set(flags) if isinstance(flags, list) else set()
    fast = features & {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}
    found = ", ".join(sorted(fast)) or "no int8 dot product"
    advice = "" if fast else "int8 will hardly be faster than fp32 here; targets are estimated all the same"
    return Check(name="int8 instructions", found=found, good=bool(fast), advice=advice)


def _governor(here: Mapping[str, Any]) -> Check:
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
