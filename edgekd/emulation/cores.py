"""The cores that can be emulated, and the description of a processor that the runtime finds in the sysroot.

The description is written from what the emulated processor itself says (its HWCAP bits and main ID register), so what
the runtime detects and what QEMU plays cannot differ.
"""

from dataclasses import dataclass

from edgekd.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Core:
    """One processor core: its name, what QEMU's `-cpu` calls it, and the nearest one where QEMU lacks it."""

    name: str
    cpu: str
    nearest: str = ""


@dataclass(frozen=True)
class Processor:
    """What a core says of itself."""

    hwcap: int
    hwcap2: int
    midr: int

    def features(self) -> tuple[str, ...]:
        """The names of its features, as Linux writes them to /proc/cpuinfo."""
        first = [name for bit, name in enumerate(_HWCAP) if self.hwcap >> bit & 1]
        return tuple(first + [name for bit, name in enumerate(_HWCAP2) if self.hwcap2 >> bit & 1])


_HWCAP = (
    *("fp", "asimd", "evtstrm", "aes", "pmull", "sha1", "sha2", "crc32", "atomics", "fphp", "asimdhp", "cpuid"),
    *("asimdrdm", "jscvt", "fcma", "lrcpc", "dcpop", "sha3", "sm3", "sm4", "asimddp", "sha512", "sve", "asimdfhm"),
    *("dit", "uscat", "ilrcpc", "flagm", "ssbs", "sb", "paca", "pacg"),
)
_HWCAP2 = (
    *("dcpodp", "sve2", "sveaes", "svepmull", "svebitperm", "svesha3", "svesm4", "flagm2", "frint", "svei8mm"),
    *("svef32mm", "svef64mm", "svebf16", "i8mm", "bf16", "dgh", "rng", "bti", "mte"),
)
"""Bit 0 first: arch/arm64/include/uapi/asm/hwcap.h of Linux."""

_CPUS = 8


def find_core(name: str) -> Core:
    """Return a core by name. Raises UsageError where it is none of CORES."""
    if name not in CORES:
        raise UsageError(f"There is no core {name[:40]!r} to emulate{did_you_mean(name, CORES)}")
    return CORES[name]


def parse_processor(text: str) -> Processor:
    """Read what the runner prints when it is asked for nothing: three hexadecimal numbers."""
    hwcap, hwcap2, midr = (int(word, 16) for word in text.split())
    return Processor(hwcap, hwcap2, midr)


def description(processor: Processor) -> dict[str, str]:
    """Return the files of /proc and /sys that describe a machine with eight such cores, by path.

    Clock and caches are those of no machine in particular; they are there because the runtime looks for them.
    """
    return {"proc/cpuinfo": _cpuinfo(processor), **_system_files()}


def _cpuinfo(processor: Processor) -> str:
    midr = processor.midr
    facts = {
        "BogoMIPS": "108.00",
        "Features": " ".join(processor.features()),
        "CPU implementer": f"0x{midr >> 24 & 0xFF:02x}",
        "CPU architecture": "8",
        "CPU variant": f"0x{midr >> 20 & 0xF:x}",
        "CPU part": f"0x{midr >> 4 & 0xFFF:03x}",
        "CPU revision": f"{midr & 0xF}",
    }
    lines = [
        [f"processor\t: {cpu}", *(f"{key}\t: {value}" for key, value in facts.items()), ""] for cpu in range(_CPUS)
    ]
    return "\n".join(line for block in lines for line in block) + "\n"


def _system_files() -> dict[str, str]:
    system, everyone = "sys/devices/system/cpu", f"0-{_CPUS - 1}\n"
    files = {f"{system}/{name}": everyone for name in ("possible", "present", "online")}
    for cpu in range(_CPUS):
        own = {
            "cpufreq/cpuinfo_max_freq": "1500000",
            "cpufreq/cpuinfo_min_freq": "600000",
            "topology/physical_package_id": "0",
            "topology/core_id": str(cpu),
            "topology/core_siblings": f"{(1 << _CPUS) - 1:x}",
            **dict.fromkeys(("topology/thread_siblings_list", "topology/core_cpus_list"), str(cpu)),
            **{f"topology/{name}_list": everyone.strip() for name in ("core_siblings", "package_cpus", "cluster_cpus")},
        }
        for index, (level, size, shared) in enumerate(
            ((1, "32K", str(cpu)), (1, "32K", str(cpu)), (2, "512K", everyone))
        ):
            cache = {"level": str(level), "size": size, "shared_cpu_list": shared.strip()}
            own |= {f"cache/index{index}/{key}": value for key, value in cache.items()}
        files |= {f"{system}/cpu{cpu}/{path}": f"{text}\n" for path, text in own.items()}
    return files


CORES: dict[str, Core] = {
    core.name: core
    for core in (
        Core("cortex-a53", "cortex-a53"),
        Core("cortex-a55", "cortex-a55", nearest="cortex-a76"),
        Core("cortex-a72", "cortex-a72"),
        Core("cortex-a76", "cortex-a76"),
        Core("neoverse-n1", "neoverse-n1"),
        # Its vectors of open length would take the kernels of servers; what is left has i8mm and bf16.
        Core("max", "max,sve=off,sme=off"),
    )
}
