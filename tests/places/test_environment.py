"""What is written down about the machine, and what counts as disturbed."""

import getpass
import json
import platform

import pytest

from edgekd.places.environment import disturbances, environment


def test_environment_is_json_without_names_of_machine_or_user() -> None:
    found = environment()
    text = json.dumps(found)
    assert found["cores"] and found["memory_mib"] > 0 and found["kernel"] == platform.release()
    assert found["versions"]["onnxruntime"].count(".") >= 1
    for private in (platform.node(), getpass.getuser()):
        if len(private) > 4:
            assert private not in text


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
