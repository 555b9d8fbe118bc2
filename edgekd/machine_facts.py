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
import shutil
import subprocess
import sys
from typing import Any

FLAGS = (
    *("avx", "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "fma"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)
"""CPU features that decide which kernels a runtime takes."""

CPUFREQ = "/sys/devices/system/cpu/cpu0/cpufreq/"
TOPOLOGY = "/sys/devices/system/cpu/cpu[0-9]*/topology/"


def machine_facts() -> dict[str, Any]:
    """Return the facts of this machine that are readable; a value is None where one is not.

    Neither host name nor user name is among them, so that a report can be published.
    """
    cpu = _fields("/proc/cpuinfo")
    features = (cpu.get("flags") or cpu.get("Features") or "").split()
    logical = os.cpu_count() or 1
    return {
        "cpu": cpu.get("model name") or cpu.get("Model") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": _physical_cores() or logical,
        "logical_cpus": logical,
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical,
        "flags": [flag for flag in FLAGS if flag in features],
        "governor": _text(CPUFREQ + "scaling_governor"),
        "clock_max_mhz": _number(_text(CPUFREQ + "cpuinfo_max_freq"), 1e3) or _number(cpu.get("cpu MHz")),
        "virtual": "hypervisor" in features,
        "kernel": platform.release(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("numpy", "onnx", "onnxruntime", "openvino")},
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "memory_free_mib": _available_mib(),
        "throttled_ever": _throttled_ever(),
    }


def _fields(path: str) -> dict[str, str]:
    """First value of each key of a file of "key : value" lines, or nothing where there is none."""
    found: dict[str, str] = {}
    for line in (_text(path) or "").splitlines():
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


def _physical_cores() -> int:
    """Cores without their second threads; 0 where the kernel does not tell."""
    cores = {(_text(folder + "physical_package_id"), _text(folder + "core_id")) for folder in glob.glob(TOPOLOGY)}
    return len(cores)


def _available_mib() -> int | None:
    kib = _number(_fields("/proc/meminfo").get("MemAvailable", "").partition(" ")[0], 1024)
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
