"""This machine as it is now, and what disturbed a measurement."""

from typing import Any

from edgekd.benchmark_program import conditions
from edgekd.machine_facts import machine_facts

THROTTLED_NOW = 0xF
"""Bits of a Raspberry Pi's get_throttled that are the present: undervoltage, frequency cap, throttled, soft limit."""


def environment() -> dict[str, Any]:
    """Return what is readable of this machine and its present state; nothing in it names machine or user."""
    return {**machine_facts(), **conditions()}


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
    if any(int(one.get("throttled", 0)) & THROTTLED_NOW for one in seen):
        hottest = max((one["temperature_c"] for one in seen if "temperature_c" in one), default=None)
        found.append("the board throttled itself" + (f" at {hottest:.0f} degrees C" if hottest is not None else ""))
    if preempted > 0.1 * runs:
        found.append(f"other processes interrupted it {preempted} times in {runs} runs")
    return tuple(found)
