"""What a measurement depends on besides the model: processor, system and versions of the machine that this runs on.

    python machine_facts.py        prints them as one JSON object, with the space left on the disk that it lies on

This file needs Python alone, so that it can be copied to a board and say there what is missing.
"""

from __future__ import annotations

import glob
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

FLAGS = (
    *("avx", "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "fma"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)
"""CPU features that decide which kernels a runtime takes."""
LIBRARIES = ("numpy", "onnx", "onnxruntime", "openvino")

CPUFREQ = "/sys/devices/system/cpu/cpu0/cpufreq/"
TOPOLOGY = "/sys/devices/system/cpu/cpu[0-9]*/topology/"
FILES = (
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/self/status", "/proc/sys/kernel/osrelease", "/proc/sys/kernel/ostype"),
    *(CPUFREQ + "scaling_governor", CPUFREQ + "cpuinfo_max_freq"),
    *(TOPOLOGY + "physical_package_id", TOPOLOGY + "core_id"),
)
"""What tells of a machine without Python, as patterns of a shell."""

Read = Callable[[str], "str | None"]


def machine_facts() -> dict[str, Any]:
    """Return the facts of this machine that are readable; a value is None where one is not.

    Neither host name nor user name is among them, so that a report can be published.
    """
    logical = os.cpu_count() or 1
    described = _described(_text, glob.glob(TOPOLOGY))
    return {
        **described,
        "cpu": described["cpu"] or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": described["cores"] or logical,
        "logical_cpus": logical,
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical,
        "kernel": platform.release(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in LIBRARIES},
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "throttled_ever": _throttled_ever(),
    }


def facts_without_python(files: Mapping[str, str], architecture: str) -> dict[str, Any]:
    """Return the same facts of a machine that has no Python, from what its FILES hold, by path.

    Args:
        architecture: as `uname -m` says it there.
    """
    described = _described(files.get, sorted({path.rpartition("/")[0] + "/" for path in files if "/topology/" in path}))
    logical = len(re.findall(r"^processor\s*:", files.get("/proc/cpuinfo", ""), re.MULTILINE)) or 1
    allowed = re.sub("[^0-9a-f]", "", _fields(files.get("/proc/self/status")).get("Cpus_allowed", ""))
    return {
        **described,
        "cpu": described["cpu"] or architecture,
        "architecture": architecture,
        "cores": described["cores"] or logical,
        "logical_cpus": logical,
        "usable_cores": bin(int(allowed or "0", 16)).count("1") or logical,
        "kernel": files.get("/proc/sys/kernel/osrelease"),
        "system": files.get("/proc/sys/kernel/ostype"),
        "python": None,
        "versions": dict.fromkeys(LIBRARIES),
        "memory_mib": _mib(files.get("/proc/meminfo"), "MemTotal"),
        "throttled_ever": None,
    }


def _described(read: Read, cpus: Sequence[str]) -> dict[str, Any]:
    """What files tell of a machine; `cpus` are the folders of topology, one for each."""
    cpu = _fields(read("/proc/cpuinfo"))
    features = (cpu.get("flags") or cpu.get("Features") or "").split()
    return {
        "cpu": cpu.get("model name") or cpu.get("Model"),
        # Cores without their second threads; 0 where the kernel does not tell.
        "cores": len({(read(folder + "physical_package_id"), read(folder + "core_id")) for folder in cpus}),
        "flags": [flag for flag in FLAGS if flag in features],
        "governor": read(CPUFREQ + "scaling_governor"),
        "clock_max_mhz": _number(read(CPUFREQ + "cpuinfo_max_freq"), 1e3) or _number(cpu.get("cpu MHz")),
        "virtual": "hypervisor" in features,
        "memory_free_mib": _mib(read("/proc/meminfo"), "MemAvailable"),
    }


def _fields(text: str | None) -> dict[str, str]:
    """First value of each key of "key : value" lines."""
    found: dict[str, str] = {}
    for line in (text or "").splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    return found


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def _number(text: str | None, unit: float = 1.0) -> float | None:
    try:
        return float(text) / unit if text else None
    except ValueError:
        return None


def _mib(meminfo: str | None, key: str) -> int | None:
    kib = _number(_fields(meminfo).get(key, "").partition(" ")[0], 1024)
    return None if kib is None else int(kib)


def _version(name: str) -> str | None:
    """Version of an installed library, whatever the package that brings it is called (onnxruntime-gpu)."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        if importlib.util.find_spec(name) is None:
            return None
    packages = importlib.metadata.packages_distributions().get(name)
    return importlib.metadata.version(packages[0]) if packages else None


def _throttled_ever() -> str | None:
    """Throttling bits of a Raspberry Pi since boot ("0x50000"), as its firmware tool says them; None elsewhere."""
    tool = shutil.which("vcgencmd")
    if tool is None:
        return None
    try:
        answer = subprocess.run([tool, "get_throttled"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip().partition("=")[2] or None


if __name__ == "__main__":
    free = shutil.disk_usage(os.path.dirname(os.path.abspath(__file__))).free // 2**20
    json.dump({**machine_facts(), "disk_free_mib": free}, sys.stdout)
