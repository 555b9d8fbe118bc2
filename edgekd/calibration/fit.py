"""Costs of operators from operators that were timed."""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edgekd.latency.graph import NodeCost
from edgekd.latency.operator_costs import (
    CHEAP,
    COARSE,
    KindCosts,
    Matrix,
    amounts,
    kernel_ns,
    logarithms,
    nearness,
)

NOISE = 0.12
"""Relative error of one timed operator."""
_SHORTEST = 100.0
"""Nanoseconds; what is shorter drowns in the profiler's own."""
_OUTLYING = 0.25
"""Relative error of a fitted operator below which none counts as disturbed."""
_MOST_POINTS = 600
_FEWEST_POINTS = 6
"""Operators of a kind below which the formula alone is fitted."""


@dataclass(frozen=True)
class Timed:
    """An operator, the nanoseconds that it took, and bytes of its whole graph's weights and activations."""

    node: NodeCost
    ns: float
    footprint: float


Tables = dict[str, dict[str, KindCosts]]


def fit(rows: Sequence[Timed]) -> Tables:
    """Return costs by precision and kind; a class is fitted beside the single operators in it, for those that were
    never timed."""
    plain = [row for row in rows if row.node.fused in CHEAP]
    groups: dict[tuple[str, str], list[Timed]] = defaultdict(list)
    for row in plain:
        precision = "int8" if row.node.precision == "int8" else "fp32"
        groups[precision, row.node.operator].append(row)
        groups[precision, row.node.kernel].append(row)
    tables: Tables = {"fp32": {}, "int8": {}}
    for (precision, kind), members in sorted(groups.items()):
        tables[precision][kind] = fit_kind(members, corrected="/" in kind)
    tables["fp32"].update(_fused(rows, tables["fp32"]))
    return tables


def fit_kind(rows: Sequence[Timed], *, corrected: bool = True) -> KindCosts:
    """Fit one kind: non-negative least squares of relative errors, then the residuals as a Gaussian process; twice, the
    second time without what lies off what all others say, because another process has disturbed it."""
    corrected = corrected and len(rows) >= _FEWEST_POINTS
    kept = rows[:: -(-len(rows) // _MOST_POINTS)] if corrected else rows
    costs, errors = _fit_kind(kept, corrected)
    limit = max(_OUTLYING, 5 * float(np.median(errors)))
    sound = [row for row, error in zip(kept, errors, strict=True) if error <= limit]
    return costs if len(sound) == len(kept) else _fit_kind(sound, corrected)[0]


def _fit_kind(rows: Sequence[Timed], corrected: bool) -> tuple[KindCosts, Matrix]:
    """Return the costs and, for each row, the error of its logarithm by a fit that has not seen it, or the residual."""
    nodes = [row.node for row in rows]
    taken = np.maximum([row.ns for row in rows], _SHORTEST)
    footprints = np.array([row.footprint for row in rows], np.float64)
    linear = non_negative(amounts(nodes) / (taken + COARSE)[:, None], taken / (taken + COARSE))
    a, b, c, d, e, f = (float(f"{one:.5g}") for one in linear)
    formula = KindCosts(linear=(a, b, c, d, e, f))
    residual = np.log((taken + COARSE) / (kernel_ns(nodes, formula, footprints) + COARSE))
    if not corrected:
        return formula, np.abs(residual)
    places = np.round(logarithms(nodes, footprints), 3)
    noise = NOISE**2 + (COARSE / (taken + COARSE)) ** 2
    inverse = np.linalg.inv(nearness(places, places) + np.diag(noise))
    pulls = inverse @ residual
    costs = KindCosts(
        linear=formula.linear,
        points=tuple((float(a), float(b), float(c), float(d), float(e)) for a, b, c, d, e in places),
        pulls=tuple(float(f"{one:.5g}") for one in pulls),
    )
    return costs, np.abs(pulls / np.diag(inverse))


def non_negative(matrix: Matrix, target: Matrix) -> Matrix:
    """Solve least squares with no coefficient below zero, exactly: each subset of the few columns is tried.

    Args:
        matrix: (rows, columns), at most a handful of columns.
        target: (rows,).
    """
    scale = np.abs(matrix).max(axis=0)
    columns = [at for at in range(matrix.shape[1]) if scale[at] > 0]
    best, least = np.zeros(matrix.shape[1]), math.inf
    for size in range(1, len(columns) + 1):
        for chosen in map(list, itertools.combinations(columns, size)):
            scaled = matrix[:, chosen] / scale[chosen]
            found = np.linalg.lstsq(scaled, target, rcond=None)[0]
            error = float(((scaled @ found - target) ** 2).sum())
            if (found >= 0).all() and error < least * (1 - 1e-9):
                best, least = np.zeros(matrix.shape[1]), error
                best[chosen] = found / scale[chosen]
    return best


def _fused(rows: Iterable[Timed], table: dict[str, KindCosts]) -> dict[str, KindCosts]:
    """What activations add to a convolution that does them by the way, per element written."""
    extras: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        kind = row.node.kernel
        if row.node.fused not in CHEAP and row.node.precision != "int8" and kind in table:
            beyond = row.ns - float(kernel_ns([row.node], table[kind], row.footprint)[0])
            extras[row.node.fused].append(beyond / max(row.node.elements_written, 1))
    return {
        f"fused/{name}": KindCosts(linear=(0.0, 0.0, 0.0, max(float(np.median(found)), 0.0), 0.0, 0.0))
        for name, found in sorted(extras.items())
    }
