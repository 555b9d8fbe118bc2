"""What a measurement depends on besides the model: the machine, its state, and the versions."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psutil

from edgekd.benchmark_program import conditions

FLAGS = (
    *("avx", "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "fma"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)
"""CPU features that decide which kernels a runtime takes."""

CPUFREQ = Path("/sys/devices/system/cpu/cpu0/cpufreq")


def environment() -> dict[str, Any]:
    """Return the facts of this machine that are readable; a key is missing or None where one is not.

    Neither host name nor user name is among them, so that a report can be published.
    """
    cpu = _cpuinfo()
    features = (cpu.get("flags") or cpu.get("Features") or "").split()
    return {
        "cpu": cpu.get("model name") or cpu.get("Model") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": psutil.cpu_count(logical=False),
        "logical_cpus": psutil.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in features],
        "governor": _text(CPUFREQ / "scaling_governor"),
        "clock_max_mhz": _thousandth(_text(CPUFREQ / "cpuinfo_max_freq")) or _number(cpu.get("cpu MHz")),
        "virtual": "hypervisor" in features,
        "kernel": platform.release(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("numpy", "onnx", "onnxruntime", "openvino")},
        "memory_mib": psutil.virtual_memory().total // 2**20,
        "memory_free_mib": psutil.virtual_memory().available // 2**20,
        "throttled_ever": _throttled_ever(),
        **conditions(),
    }


def disturbances(seen: list[dict[str, float]], *, cores: int, runs: int, preempted: int) -> tuple[str, ...]:
    """Return what disturbed a measurement, in sentences, from the conditions before, during and after it.

    Marked are: a load average above the cores there are, a clock that moved by over 5 %, throttling, and more than
    one preemption in ten runs.
    """
    found = []
    load = max(one["load"] for one in seen)
    if load > cores:
        found.append(f"the load average was {load:.1f} on {cores} cores")
    clocks = [one["clock_mhz"] for one in seen if "clock_mhz" in one]
    if clocks and min(clocks) < 0.95 * max(clocks):
        found.append(f"the clock went between {min(clocks):.0f} and {max(clocks):.0f} MHz")
    # Bits 0 to 3 of get_throttled are the present: undervoltage, frequency cap, throttled, soft temperature limit.
    if any(int(one.get("throttled", 0)) & 0xF for one in seen):
        hottest = max((one["temperature_c"] for one in seen if "temperature_c" in one), default=None)
        found.append("the board throttled itself" + (f" at {hottest:.0f} degrees C" if hottest is not None else ""))
    if preempted > 0.1 * runs:
        found.append(f"other processes interrupted it {preempted} times in {runs} runs")
    return tuple(found)


def _cpuinfo() -> dict[str, str]:
    """First value of each key of /proc/cpuinfo, or nothing where there is none."""
    found: dict[str, str] = {}
    for line in (_text(Path("/proc/cpuinfo")) or "").splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    return found


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _thousandth(text: str | None) -> float | None:
    value = _number(text)
    return None if value is None else value / 1000


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


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
