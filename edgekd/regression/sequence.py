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

    A pass costs surely less than 1 + `smallest_effect` times its baseline: the whole interval lies below that. A
    regression is surely slower and worth failing: the interval lies above 1, the value above 1 + `smallest_effect`;
    and the processes that ran after this was first seen show it again by themselves. An improvement is surely cheaper,
    and by its value less than 1 - `smallest_effect`.

    Args:
        logs: logarithm of the build's cost over its baseline's, one per process, in the order they ran.
    """
    value, _, high = confidence_sequence(logs, level=level)
    if high < math.log1p(smallest_effect):
        return "improvement" if high < 0 and value < math.log1p(-smallest_effect) else "pass"
    seen = first_seen(logs, smallest_effect=smallest_effect, level=level)
    if seen is not None and all(_slower(some, smallest_effect, level) for some in (logs, logs[seen:])):
        return "regression"
    return None


def first_seen(logs: Sequence[float], *, smallest_effect: float, level: float) -> int | None:
    """Return after how many processes the build was first seen to be slower, looking after each pair of them; None
    where it never was."""
    looks = range(2, len(logs) + 1, 2)
    return next((n for n in looks if _slower(logs[:n], smallest_effect, level)), None)


def _slower(logs: Sequence[float], smallest_effect: float, level: float) -> bool:
    """Whether it surely is, and by an effect worth failing."""
    if not logs:
        return False
    value, low, _ = confidence_sequence(logs, level=level)
    return low > 0 and value > math.log1p(smallest_effect)
