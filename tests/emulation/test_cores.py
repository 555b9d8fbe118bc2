"""What a core says of itself becomes the machine that the runtime finds."""

import pytest

from edgekd.emulation.cores import CORES, Processor, description, find_core, parse_processor
from edgekd.errors import UsageError


def test_features_are_the_bits_that_linux_names() -> None:
    a53 = parse_processor("8fb 0 410fd034\n")
    assert a53 == Processor(0x8FB, 0, 0x410FD034)
    assert a53.features() == ("fp", "asimd", "aes", "pmull", "sha1", "sha2", "crc32", "cpuid")
    a76 = parse_processor("119ffb 0 414fd0b1")
    more = {"atomics", "fphp", "asimdhp", "asimdrdm", "lrcpc", "dcpop", "asimddp"}
    assert set(a76.features()) == {*a53.features(), *more}
    assert {"i8mm", "bf16"} <= set(Processor(0, 1 << 13 | 1 << 14, 0).features())


def test_the_description_names_the_part() -> None:
    files = description(Processor(0x119FFB, 0, 0x414FD0B1))
    lines = files["proc/cpuinfo"].splitlines()
    assert lines[0] == "processor\t: 0" and lines.count("CPU part\t: 0xd0b") == 8
    assert {"CPU implementer\t: 0x41", "CPU variant\t: 0x4", "CPU revision\t: 1"} <= set(lines)
    assert "asimddp" in next(line for line in lines if line.startswith("Features")).split()
    system = "sys/devices/system/cpu"
    assert files[f"{system}/possible"] == "0-7\n"
    assert files[f"{system}/cpu7/topology/core_id"] == "7\n"
    assert files[f"{system}/cpu0/cache/index2/size"] == "512K\n"


def test_an_unknown_core_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean 'cortex-a76'"):
        find_core("cortex-76")
    assert all(core.nearest in CORES for core in CORES.values() if core.nearest)
