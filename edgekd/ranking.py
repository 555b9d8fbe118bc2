"""How candidates compare in speed, and which of them nothing beats. Pure."""

import math
from collections.abc import Sequence

from edgekd.figures import Number
from edgekd.results import Candidate

ALIKE = 1.02
"""Estimates, which have no paired interval, and peak memories, which vary from process to process, are taken as alike
up to this ratio."""


def is_measured(candidate: Candidate) -> bool:
    """Whether its latency was measured on the target, in turns with fp32."""
    latency = candidate.latency_p50_ms
    return latency is not None and latency.word == "measured" and candidate.host_ratio_to_fp32 is not None


def comparable(one: Candidate, other: Candidate) -> bool:
    """Whether the latencies of both carry the same word: what was emulated is not compared with an estimate."""
    words = {c.latency_p50_ms.word for c in (one, other) if c.latency_p50_ms is not None}
    return len(words) < 2


def cost_of(candidate: Candidate) -> float:
    """What candidates are ranked by: measured, the CPU time relative to fp32, since both saw the same disturbances;
    else the emulated or estimated milliseconds, and infinity where there are none."""
    if is_measured(candidate) and candidate.host_ratio_to_fp32 is not None:
        return candidate.host_ratio_to_fp32.value
    return candidate.latency_p50_ms.value if candidate.latency_p50_ms else math.inf


def alike(one: Candidate, other: Candidate) -> bool:
    """Whether their latencies are not told apart: by their intervals where both were measured, else by `ALIKE`."""
    if is_measured(one) and is_measured(other):
        (a, b), (c, d) = (interval_of(ratio) for ratio in (one.host_ratio_to_fp32, other.host_ratio_to_fp32))
        return a <= d and c <= b
    if not comparable(one, other):
        return False
    cheap, dear = sorted((cost_of(one), cost_of(other)))
    return dear <= ALIKE * cheap < math.inf


def interval_of(number: Number | None) -> tuple[float, float]:
    """(low, high); the value itself where it has no interval, and NaN, which is like nothing, where there is none."""
    if number is None:
        return math.nan, math.nan
    low, high = number.low, number.high
    return (number.value if low is None else low), (number.value if high is None else high)


def unbeaten(candidates: Sequence[Candidate]) -> frozenset[str]:
    """Ids of those that no other is at least as good as in score, latency and memory, and better in one of them.

    A figure that not all examined candidates have does not count; one without a latency is not compared.
    """
    timed = [c for c in candidates if c.latency_p50_ms is not None]
    points = {c.id: (_lost(c), cost_of(c), c.peak_memory_kib and c.peak_memory_kib.value) for c in timed}
    known = [axis for axis in range(3) if all(point[axis] is not None for point in points.values())]
    reduced = {name: tuple(point[axis] or 0.0 for axis in known) for name, point in points.items()}
    return frozenset(name for name, one in reduced.items() if not any(_beats(other, one) for other in reduced.values()))


def _lost(candidate: Candidate) -> float | None:
    """What it loses against the teacher on the same samples, which need not be the same for all; else by its score."""
    if candidate.drop is not None:
        return candidate.drop.value
    return -candidate.score.value if candidate.score is not None else None


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether it is nowhere higher and somewhere lower."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
