"""What this machine has and lacks: libraries, CPU features that decide int8, disk, and what to do about it."""

import importlib.metadata
import shutil
from pathlib import Path

from edgekd.device import resolve
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


def diagnose(target: str | None = None) -> Diagnosis:
    """Look at this machine, and with a target at what its profile asks of the files made here.

    Raises:
        UsageError: an unknown target.
    """
    here = environment()
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
