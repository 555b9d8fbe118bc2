"""Intervals that may be looked at after every sample, and a verdict that waits for them."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Verdict = Literal["pass", "regression", "improvement", "inconclusive"]

PRECISION = 0.25
"""Inverse variance of how far the truth is expected to lie from what is tested, in standard deviations of one sample:
the interval is shortest for a distance of about two, which is 5 % against 3 % where processes spread by 1 %."""


def confidence_sequence(samples: npt.ArrayLike, *, level: float) -> tuple[float, float, float]:
    """Return (mean, low, high) of normal samples (n,), n >= 1; infinite bounds while they are too few.

    At every n at once, the probability that any of the intervals misses the mean is at most 1 - `level`: so one may
    look after every sample, stop whenever one likes, and go on.
    It holds those means whose t statistic keeps a likelihood ratio, averaged over normally distributed alternatives,
    below 1 / (1 - level).
    Source: Wang and Ramdas, Anytime-valid t-tests and confidence sequences for Gaussian means with unknown variance,
    2023, section 4; after Lai, On confidence sequences, 1976.
    """
    values = np.asarray(samples, np.float64)
    n, value = len(values), float(np.mean(values))
    grown = n + PRECISION
    ratio = math.exp((math.log(grown / PRECISION) - 2 * math.log(1 - level)) / n)
    room = grown - ratio * PRECISION
    if n < 2 or room <= 0:
        return value, -math.inf, math.inf
    t = math.sqrt((ratio - 1) * grown * (n - 1) / room)
    half = t * float(values.std(ddof=1)) / math.sqrt(n)
    return value, value - half, value + half


def decide(logs: Sequence[float], *, smallest_effect: float, level: float) -> Verdict | None:
    """Return the verdict on a build after so many processes, or None where it takes more of them.

    A regression costs surely more than 1 + `smallest_effect` times its baseline: the interval over all processes lies
    above that, and the interval over those that ran after it was first seen to do so lies above 1 all by itself. A pass
    costs surely less. So does an improvement, which costs surely less than its baseline, too, and by its value less
    than 1 - `smallest_effect` times as much.

    Args:
        logs: logarithm of the build's cost over its baseline's, one per process, in the order they ran.
    """
    worse, better = math.log1p(smallest_effect), math.log1p(-smallest_effect)
    value, low, high = confidence_sequence(logs, level=level)
    if high < worse:
        return "improvement" if high < 0 and value < better else "pass"
    seen = first_seen(logs, smallest_effect=smallest_effect, level=level)
    fresh = logs[seen:]
    if low > worse and fresh and confidence_sequence(fresh, level=level)[1] > 0:
        return "regression"
    return None


def first_seen(logs: Sequence[float], *, smallest_effect: float, level: float) -> int | None:
    """Return after how many processes the interval first lay above 1 + `smallest_effect`, looking after each pair of
    processes; None where it never did."""
    worse = math.log1p(smallest_effect)
    looks = range(2, len(logs) + 1, 2)
    return next((n for n in looks if confidence_sequence(logs[:n], level=level)[1] > worse), None)
