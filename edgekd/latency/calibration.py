"""Fit the rates of a device to measured latencies of networks whose instructions are counted.

Two figures are fitted per precision, each only where there are measurements that show it: a factor on the cycles from
runs at one thread, the crowding from runs at several. Both are medians, so that one disturbed row does not move them,
and both are drawn towards the figures that were there before, as if these were one more measurement.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgekd.device import LatencyConstants, Rates
from edgekd.latency.conversion import Work, cores_at_work, crowd, milliseconds, rates_of, waiting
from edgekd.latency.graph import Precision

PRIOR = 1.0
"""Measurements that the figures from before count for."""
_STUDENT_95 = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812)
"""95 % quantile of Student's t for 1 to 10 degrees of freedom; beyond, 1.645 + 1.67 / degrees is within 0.3 %."""


@dataclass(frozen=True)
class Measurement:
    """A network's latency on a device, with what its operators execute."""

    net: str
    works: tuple[Work, ...]
    precision: Precision
    threads: int
    milliseconds: float
    family: str = ""


def fit(rows: Sequence[Measurement], constants: LatencyConstants, *, prior: float = PRIOR) -> LatencyConstants:
    """Return the constants with the rates of every precision that was measured fitted to these rows."""
    fitted: dict[str, Rates] = {}
    for precision, rates in (("fp32", constants.fp32), ("int8", constants.int8)):
        mine = [row for row in rows if row.precision == precision]
        if mine:
            fitted[precision] = _fit_rates(mine, constants, rates, prior)
    return constants.model_copy(update=fitted)


def predicted(row: Measurement, constants: LatencyConstants) -> float:
    """Milliseconds that the constants give for a measured network."""
    return sum(milliseconds(work, constants, row.threads) for work in row.works)


def left_out(
    rows: Sequence[Measurement],
    constants: LatencyConstants,
    *,
    prior: float = PRIOR,
    group: Callable[[Measurement], str] = lambda row: row.net,
) -> list[float]:
    """Return predicted over measured for each row, fitted on the rows of other groups only."""
    found = []
    for row in rows:
        others = [other for other in rows if group(other) != group(row)]
        found.append(predicted(row, fit(others, constants, prior=prior)) / row.milliseconds)
    return found


def band(ratios: Sequence[float]) -> tuple[float, float]:
    """Return bounds of measured over predicted that hold a further network in nine of ten cases.

    `ratios` are predicted over measured of networks left out, at least two. Their logarithms are taken as normal around
    zero: the bounds are Student's, for one more draw.
    """
    squares = [math.log(ratio) ** 2 for ratio in ratios]
    count = len(squares)
    quantile = _STUDENT_95[count - 2] if count <= len(_STUDENT_95) + 1 else 1.645 + 1.67 / (count - 1)
    half = quantile * math.sqrt(sum(squares) / count * (1 + 1 / count))
    return math.exp(-half), math.exp(half)


def _fit_rates(rows: list[Measurement], constants: LatencyConstants, rates: Rates, prior: float) -> Rates:
    single = [row for row in rows if row.threads == 1]
    several = [row for row in rows if row.threads > 1]
    if single:
        factors = [math.log(_speed_factor(row, constants)) for row in single]
        factor = math.exp(_drawn(factors, 0.0, prior))
        scaled = {name: getattr(rates, name) * factor for name in ("multiply_cycles", "other_cycles")}
        rates = rates.model_copy(update=scaled)
    if several:
        with_cycles = constants.model_copy(update={rows[0].precision: rates})
        found = [crowding_for(row, with_cycles) for row in several]
        rates = rates.model_copy(update={"crowding_ns": max(0.0, _drawn(found, rates.crowding_ns, prior))})
    return rates


def _drawn(found: list[float], before: float, prior: float) -> float:
    return (len(found) * statistics.median(found) + prior * before) / (len(found) + prior)


def _speed_factor(row: Measurement, constants: LatencyConstants) -> float:
    """By how much the cycles must grow for the row's time, what is streamed apart."""
    streamed = sum(work.weight_bytes for work in row.works) / constants.bandwidth_gb_s * 1e-6
    return max(row.milliseconds - streamed, 1e-3 * row.milliseconds) / (predicted(row, constants) - streamed)


def crowding_for(row: Measurement, constants: LatencyConstants) -> float:
    """Crowding that gives the row its time exactly; negative where the cycles alone take longer."""
    uncrowded = rates_of(row.precision, constants).model_copy(update={"crowding_ns": 0.0})
    alone = constants.model_copy(update={row.precision: uncrowded})
    waits = sum(
        waiting(work) * crowd(cores_at_work(work, row.threads), constants)
        for work in row.works
        if rates_of(work.precision, constants) is rates_of(row.precision, constants)
    )
    return (row.milliseconds - predicted(row, alone)) * 1e6 / waits
