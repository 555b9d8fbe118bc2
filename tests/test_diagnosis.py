"""What doctor makes of what it saw on a place, by hand."""

from typing import Any

import pytest

from edgekd import diagnosis
from edgekd.emulation.kit import KitPart
from edgekd.errors import UsageError
from edgekd.places.look import Look

PI4 = {
    **{"python": "3.11.2", "flags": ["asimd"], "cores": 4, "memory_mib": 3906, "disk_free_mib": 9000},
    **{"versions": {"onnxruntime": "1.31.1", "numpy": "2.3.0"}, "governor": "performance"},
}


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch):
    """Checks by name of a Pi 4 with some facts changed."""

    def make(*, ceilings: tuple[int, int] = (26, 13), **facts: Any) -> dict[str, diagnosis.Check]:
        look = Look("ssh://pi@board", "python3", {**PI4, **facts}, *ceilings)
        monkeypatch.setattr(diagnosis, "look_at", lambda on: look)
        return {one.name: one for one in diagnosis.diagnose("raspberry-pi-4", on="ssh://pi@board").checks}

    return make


def test_a_board_like_its_profile(checks) -> None:
    found = checks(temperature_c=48.3, clock_mhz=1800.0)
    assert found["place"].found == "ssh://pi@board" and found["Python"].found == "3.11.2"
    assert found["clock and temperature"].found == "1800 MHz, 48 degrees C"
    assert found["like raspberry-pi-4"].found == "as the profile says"
    assert [name for name, one in found.items() if not one.good] == ["int8 instructions"]


@pytest.mark.parametrize(
    ("facts", "fault"),
    [
        ({"flags": []}, "lacks asimd"),
        ({"flags": ["asimd", "asimddp"]}, "has asimddp besides"),
        ({"cores": 2}, "has 2 cores of 4"),
        ({"memory_mib": 900}, "has 900 MiB of memory of "),
        ({"ceilings": (22, 10)}, "loads less than opset 26 or IR 13"),
    ],
)
def test_a_board_that_is_not_the_target(checks, facts: dict[str, Any], fault: str) -> None:
    found = checks(**facts)["like raspberry-pi-4"]
    assert not found.good and fault in found.found and "not those of raspberry-pi-4" in found.advice


def test_what_a_board_lacks(checks) -> None:
    found = checks(
        throttled=0x50005, disk_free_mib=100, ceilings=(0, 0), versions={"onnxruntime": None, "numpy": "2.3.0"}
    )
    assert found["onnxruntime"].advice == "there: python3 -m pip install onnxruntime"
    assert not found["onnxruntime loads"].good and found["like raspberry-pi-4"].good
    assert (
        found["clock and temperature"].found == "throttled" and "power supply" in found["clock and temperature"].advice
    )
    assert not found["free disk"].good
    assert checks(throttled=0x50000)["clock and temperature"].good  # it was, and is not now


def test_a_board_without_python_needs_what_is_sent_there(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = (KitPart(name="libraries", found="Debian packages"), KitPart(name="benchmark program"))
    facts = {**PI4, "python": None, "disk_free_mib": None, "memory_mib": None}
    monkeypatch.setattr(diagnosis, "look_at", lambda on: Look(on, "python3", facts, 0, 0, compiled=True))
    monkeypatch.setattr(diagnosis, "board_parts", lambda version: parts)
    found = {one.name: one for one in diagnosis.diagnose("raspberry-pi-4", on="adb://01").checks}
    assert found["Python"].found == "not there" and "a program in C" in found["benchmarks"].found
    assert found["libraries"].good and not found["benchmark program"].good
    assert found["benchmark program"].advice == "edgekd doctor --on adb://01 --install"
    assert found["free disk"].found == "not readable" and found["like raspberry-pi-4"].good
    assert "onnxruntime" not in found


def test_install_looks_again_and_is_for_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[str] = []
    look = Look("adb://01", "python3", {**PI4, "python": None}, 0, 0, compiled=True)
    monkeypatch.setattr(diagnosis, "look_at", lambda on: did.append("look") or look)
    monkeypatch.setattr(diagnosis, "install_board_files", lambda version: did.append("install"))
    diagnosis.diagnose(on="adb://01", install=True)
    assert did == ["look", "install", "look"]
    with pytest.raises(UsageError, match="--install needs --on"):
        diagnosis.diagnose(install=True)
