"""The peak of this process's memory, told from memory that was really taken."""

import mmap
import sys

import pytest

from edgekd.training import memory

TAKEN_KIB = 64 * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells the peak of a process")
def test_the_peak_is_that_since_the_restart() -> None:
    if not memory.restart_peak():
        pytest.skip("this system does not let a process restart its peak")
    before = memory.peak_kib()
    # Asked of the system itself: malloc may keep what is given back, in a process whose heap is large already.
    with mmap.mmap(-1, TAKEN_KIB * 1024) as held:
        for page in range(0, len(held), mmap.PAGESIZE):
            held[page] = 1
    after = memory.peak_kib()
    assert before is not None and after is not None
    # Given back by now, and counted all the same.
    assert 0.9 * TAKEN_KIB < after - before < 1.5 * TAKEN_KIB
    assert memory.restart_peak()
    again = memory.peak_kib()
    assert again is not None and again < after - 0.5 * TAKEN_KIB


def test_a_system_that_does_not_tell_is_not_asked_twice(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none" / "status")
    monkeypatch.setattr(memory, "_RESET", tmp_path / "none" / "reset")
    assert memory.peak_kib() is None and memory.restart_peak() is False
    (tmp_path / "status").write_text("Name:\tpython\nVmRSS:\t 100 kB\n")
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    assert memory.peak_kib() is None
    (tmp_path / "status").write_text("VmPeak:\t 900 kB\nVmHWM:\t 4711 kB\n")
    assert memory.peak_kib() == 4711.0
