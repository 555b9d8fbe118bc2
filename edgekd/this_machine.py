"""The profile of the machine that edgekd runs on, read from it."""

import importlib.metadata
import platform
from pathlib import Path

import psutil

from edgekd.device import DeviceProfile, LatencyConstants, Rates, RuntimeName, RuntimeOnDevice

_ISA_FLAGS = (
    *("asimd", "asimddp", "i8mm", "fphp"),
    *("avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_fp16"),
)
_CEILINGS = {"1.31": (26, 13), "1.23": (23, 11)}
"""ONNX Runtime version to the newest opset and IR version that it loads, tried with models of one node."""
_OLDEST_CEILING = (23, 11)


def host_profile() -> DeviceProfile:
    """Return the profile "host". Its latency constants are a rough guess from clock and vector width, with an interval
    to match: what runs here is measured, not estimated."""
    flags = _cpu_flags()
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    clock = _clock_ghz()
    read = "read from this machine"
    runtimes = _runtimes(cores)
    guess = "guessed from clock, cores and vector width; nothing was measured; band: judgement"
    return DeviceProfile(
        name="host",
        title="this machine",
        soc=_model_name(),
        core=platform.machine(),
        cores=cores,
        clock_ghz=clock,
        isa=(_architecture(), *(flag for flag in _ISA_FLAGS if flag in flags)),
        memory_mib=psutil.virtual_memory().total // 2**20,
        runtimes=runtimes,
        latency=_rough_constants(flags, cores, clock),
        sources={
            **dict.fromkeys(("soc", "core", "cores", "clock_ghz", "isa", "memory_mib"), read),
            **{f"runtimes.{name}": "installed version; ceilings tried with models of one node" for name in runtimes},
            **dict.fromkeys(("latency", "latency.fp32", "latency.int8"), guess),
        },
    )


def _architecture() -> str:
    """Name of the instruction set, which systems spell in several ways."""
    machine = platform.machine().lower()
    return {"arm64": "aarch64", "amd64": "x86_64"}.get(machine, machine)


def is_x86(machine: str | None = None) -> bool:
    """Whether a processor, named as by `platform.machine()` and by default this one, is an x86."""
    return (machine or platform.machine()).lower() in {"x86_64", "amd64", "i386", "i686"}


def _cpu_flags() -> frozenset[str]:
    for line in _cpuinfo():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def _model_name() -> str:
    for line in _cpuinfo():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware") and value.strip():
            return value.strip()[:80]
    return platform.processor() or platform.machine() or "unknown"


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _clock_ghz() -> float:
    """Highest clock the system admits to, else the present one, else 2 GHz."""
    try:
        frequency = psutil.cpu_freq()
    except (OSError, RuntimeError, NotImplementedError):
        frequency = None
    mhz = (frequency.max or frequency.current) if frequency else 0.0
    return round(mhz / 1000, 2) if mhz > 0 else 2.0


def _runtimes(cores: int) -> dict[RuntimeName, RuntimeOnDevice]:
    version = importlib.metadata.version("onnxruntime")
    opset, ir = _CEILINGS.get(".".join(version.split(".")[:2]), _OLDEST_CEILING)
    found: dict[RuntimeName, RuntimeOnDevice] = {
        "onnxruntime": RuntimeOnDevice(version=version, max_opset=opset, max_ir=ir, threads=cores)
    }
    try:
        openvino = importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        return found
    return {**found, "openvino": RuntimeOnDevice(version=openvino, max_opset=26, max_ir=13, threads=cores)}


def _rough_constants(flags: frozenset[str], cores: int, clock: float) -> LatencyConstants:
    width = 4 if "avx512f" in flags else 2 if "avx2" in flags else 1
    fast_int8 = bool(flags & {"asimddp", "avx512_vnni", "avx_vnni"})
    rates = Rates(multiply_cycles=0.5 / width, other_cycles=0.36 / width, crowding_ns=0.1 / width, low=0.25, high=4.0)
    return LatencyConstants(
        level="dotprod" if fast_int8 else "neon",
        threads=cores,
        speeds_ghz=(clock,) * cores,
        bandwidth_gb_s=10.0,
        fp32=rates,
        int8=rates,
        fitted_gmacs=(0.1, 10.0),
    )
