"""Percentiles with intervals, from the raw samples of a benchmark."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from edgekd.figures import Number

LEVEL = 0.9
RESAMPLES = 1000

Statistic = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
"""Reduces (resamples, n) to (resamples,), row by row."""


def bootstrap(
    samples: npt.ArrayLike, statistic: Statistic, *, level: float = LEVEL, seed: int = 0
) -> tuple[float, float, float]:
    """Return (value, low, high) of a statistic of samples (n,), by the circular block bootstrap's percentiles.

    Runs that follow each other are alike (clock, cache, what else the machine does), so whole blocks of n**(1/3)
    neighbours are drawn, not single runs; drawn singly, the interval would be too narrow.
    Source: Politis and Romano, A circular block-resampling procedure for stationary data, 1992.
    """
    values = np.asarray(samples, np.float64)
    n = len(values)
    block = round(n ** (1 / 3))
    starts = np.random.default_rng(seed).integers(0, n, (RESAMPLES, -(-n // block)))
    drawn = (starts[:, :, None] + np.arange(block)).reshape(RESAMPLES, -1)[:, :n] % n
    low, high = np.quantile(statistic(values[drawn]), [(1 - level) / 2, (1 + level) / 2])
    return float(statistic(values[None])[0]), float(low), float(high)


def student_interval(samples: npt.ArrayLike, *, level: float) -> tuple[float, float, float]:
    """Return (mean, low, high) of a few independent samples (n,), n >= 2, by Student's t.

    The quantile is found on t = sqrt(n - 1) tan(angle), whose angle has a density of cos(angle) ** (n - 2).
    """
    values = np.asarray(samples, np.float64)
    angle = np.linspace(-np.pi / 2, np.pi / 2, 200_001)
    below = np.cumsum(np.cos(angle) ** (len(values) - 2))
    quantile = np.tan(np.interp((1 + level) / 2, below / below[-1], angle)) * np.sqrt(len(values) - 1)
    half = float(quantile * values.std(ddof=1) / np.sqrt(len(values)))
    value = float(values.mean())
    return value, value - half, value + half


def percentile(q: float) -> Statistic:
    """Return the statistic "percentile q", 0 to 100, linearly interpolated."""
    return lambda rows: np.asarray(np.percentile(rows, q, axis=1))


def mean(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean of each row."""
    return np.asarray(rows.mean(axis=1))


def measured(samples: Sequence[float], statistic: Statistic, *, unit: str, place: str, seed: int = 0) -> Number:
    """Return a statistic of measured samples with its interval."""
    value, low, high = bootstrap(samples, statistic, seed=seed)
    return Number(value=value, low=low, high=high, level=LEVEL, unit=unit, word="measured", place=place, n=len(samples))
