"""What is written down about the machine, and what counts as disturbed."""

import getpass
import json
import platform
from pathlib import Path

import psutil
import pytest

from edgekd.machine_facts import _version, machine_facts
from edgekd.places.environment import disturbances, environment


def test_environment_is_json_without_names_of_machine_or_user() -> None:
    found = environment()
    text = json.dumps(found)
    assert found["cores"] and found["memory_mib"] > 0 and found["kernel"] == platform.release()
    assert found["versions"]["onnxruntime"].count(".") >= 1
    for private in (platform.node(), getpass.getuser()):
        if len(private) > 4:
            assert private not in text


def test_a_library_under_another_package_name_has_that_ones_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fastlib").mkdir()
    (tmp_path / "fastlib" / "__init__.py").write_text("raise SystemExit('imported')")
    info = tmp_path / "fastlib_gpu-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fastlib-gpu\nVersion: 1.2\n")
    (info / "top_level.txt").write_text("fastlib\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert _version("fastlib") == "1.2"
    assert _version("nosuchlib") is None


def test_the_facts_of_this_machine_are_those_psutil_finds() -> None:
    facts = machine_facts()
    assert facts["cores"] == psutil.cpu_count(logical=False)
    assert facts["memory_mib"] == psutil.virtual_memory().total // 2**20
    assert facts["memory_free_mib"] == pytest.approx(psutil.virtual_memory().available / 2**20, rel=0.2)


@pytest.mark.parametrize(
    ("seen", "preempted", "expected"),
    [
        ([{"load": 1.9}, {"load": 2.0}], 10, None),
        ([{"load": 1.0}, {"load": 2.1}], 0, "load average was 2.1 on 2 cores"),
        ([{"load": 0.0, "clock_mhz": 1500.0}, {"load": 0.0, "clock_mhz": 1430.0}], 0, None),
        ([{"load": 0.0, "clock_mhz": 1500.0}, {"load": 0.0, "clock_mhz": 600.0}], 0, "between 600 and 1500 MHz"),
        ([{"load": 0.0, "throttled": 0x50000}], 0, None),  # has been throttled since boot, is not now
        ([{"load": 0.0, "throttled": 0x4, "temperature_c": 85.0}], 0, "throttled itself at 85 degrees C"),
        ([{"load": 0.0}], 11, "interrupted it 11 times in 100 runs"),
    ],
)
def test_disturbances(seen: list[dict[str, float]], preempted: int, expected: str | None) -> None:
    marks = disturbances(seen, cores=2, runs=100, preempted=preempted)
    if expected is None:
        assert marks == ()
    else:
        assert len(marks) == 1 and expected in marks[0]
