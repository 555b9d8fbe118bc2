"""Scores as figures with intervals, for every task: bootstraps over the rows of `Task.statistics`.

Resampling hits and counting them is a binomial draw, which is exact and copies nothing, so a single column of hits and
misses is resampled that way; anything else by drawing samples.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.figures import Number
from edgekd.tasks.task import Floats, Task

Statistics = npt.NDArray[np.floating[Any]] | npt.NDArray[np.bool_]

LEVEL = 0.9
TAIL = (1 - LEVEL) / 2
DRAWS = 10_000
DRAWS_OF_ROWS = 2_000
"""Enough for the ends of a 90 % interval: they move by a twentieth of its width from seed to seed."""
_ROWS_AT_ONCE = 2**20


def score_number(task: Task, statistics: Statistics, place: str, *, seed: int = 0) -> Number:
    """The score of `statistics` (n, k), as `task.statistics` gives them, with its percentile interval.

    Where all are hits, or all misses, resampling would claim certainty; there the far end is the exact binomial bound
    (Clopper and Pearson, 1934).
    """
    rows = _rows(statistics)
    value = float(task.score(rows.mean(axis=0)))
    drawn = _drawn_shares(rows, seed) if _is_share(rows) else _drawn_means(rows, seed)
    low, high = np.quantile(task.score(drawn), [TAIL, 1 - TAIL])
    if _is_share(rows) and rows.min() == rows.max():
        bound = TAIL ** (1 / len(rows))
        low, high = (bound, 1.0) if value == 1.0 else (0.0, 1 - bound)
    return _number(value, float(low), float(high), place, len(rows))


def paired_difference(task: Task, a: Statistics, b: Statistics, place: str = "host", *, seed: int = 0) -> Number:
    """Score of `a` minus score of `b`, both statistics (n, k) of the same samples, with a paired percentile interval.

    Of hits and misses only samples on which the two differ move it; where there are none, the interval has no width.
    """
    ours, theirs = _rows(a), _rows(b)
    value = float(task.score(ours.mean(axis=0)) - task.score(theirs.mean(axis=0)))
    if _is_share(ours) and _is_share(theirs):
        drawn = _drawn_gains(ours[:, 0] - theirs[:, 0], seed)
    else:
        both = _drawn_means(np.hstack([ours, theirs]), seed)
        drawn = task.score(both[:, : ours.shape[1]]) - task.score(both[:, ours.shape[1] :])
    low, high = np.quantile(drawn, [TAIL, 1 - TAIL])
    return _number(value, float(low), float(high), place, len(ours))


def _rows(statistics: Statistics) -> Floats:
    return np.asarray(statistics, np.float64).reshape(len(statistics), -1)


def _is_share(rows: Floats) -> bool:
    return rows.shape[1] == 1 and bool(np.isin(rows, (0.0, 1.0)).all())


def _drawn_shares(rows: Floats, seed: int) -> Floats:
    """Means (draws, 1) of resampled hits and misses."""
    n = len(rows)
    return np.random.default_rng(seed).binomial(n, rows.mean(), (DRAWS, 1)) / n


def _drawn_gains(gains: Floats, seed: int) -> Floats:
    """Means (draws,) of resampled differences, each -1, 0 or 1."""
    n, won, lost = len(gains), (gains > 0).sum(), (gains < 0).sum()
    drawn = np.random.default_rng(seed).multinomial(n, np.array([won, lost, n - won - lost]) / n, DRAWS)
    return (drawn[:, 0] - drawn[:, 1]) / n


def _drawn_means(rows: Floats, seed: int) -> Floats:
    """Means (draws, k) of rows (n, k) resampled with replacement, a bounded number of rows at a time."""
    rng, n = np.random.default_rng(seed), len(rows)
    step = max(1, _ROWS_AT_ONCE // n)
    chunks = [min(step, DRAWS_OF_ROWS - at) for at in range(0, DRAWS_OF_ROWS, step)]
    return np.concatenate([_means_of(rows, rng.integers(0, n, (size, n))) for size in chunks])


def _means_of(rows: Floats, drawn: npt.NDArray[np.int64]) -> Floats:
    """Means (draws, k) over the rows (n, k) that each draw (draws, n) names."""
    if not np.isfinite(rows).all():  # of which a product would make NaN where such a row is not drawn
        return np.asarray(rows[drawn].mean(axis=1))
    draws, n = drawn.shape
    times = np.bincount((drawn + n * np.arange(draws)[:, None]).ravel(), minlength=drawn.size).reshape(drawn.shape)
    return np.asarray(times @ rows / n)


def _number(value: float, low: float, high: float, place: str, n: int) -> Number:
    return Number(value=value, low=low, high=high, level=LEVEL, unit="score", word="measured", place=place, n=n)
