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

NOISE = 0.05
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
        groups[precision, f"{row.node.operator}/{row.node.type}"].append(row)
    tables: Tables = {"fp32": {}, "int8": {}}
    for (precision, kind), members in sorted(groups.items()):
        tables[precision][kind] = fit_kind(members, corrected="/" in kind)
    tables["fp32"].update(_fused(rows, tables["fp32"]))
    return tables


def fit_kind(rows: Sequence[Timed], *, corrected: bool = True) -> KindCosts:
    """Fit one kind: non-negative least squares of relative errors, then the residuals as a Gaussian process; twice, the
    second time without what other processes have disturbed."""
    costs = _fit_kind(rows, corrected)
    nodes = [row.node for row in rows]
    taken = np.maximum([row.ns for row in rows], _SHORTEST)
    off = np.abs(np.log((kernel_ns(nodes, costs, _footprints(rows)) + COARSE) / (taken + COARSE)))
    sound = [row for row, error in zip(rows, off, strict=True) if error <= max(_OUTLYING, 5 * float(np.median(off)))]
    return costs if len(sound) == len(rows) else _fit_kind(sound, corrected)


def _fit_kind(rows: Sequence[Timed], corrected: bool) -> KindCosts:
    nodes = [row.node for row in rows]
    taken = np.maximum([row.ns for row in rows], _SHORTEST)
    linear = non_negative(amounts(nodes) / (taken + COARSE)[:, None], taken / (taken + COARSE))
    a, b, c, d, e = (float(f"{one:.5g}") for one in linear)
    rounded = KindCosts(linear=(a, b, c, d, e))
    if not corrected or len(rows) < _FEWEST_POINTS:
        return rounded
    every = -(-len(rows) // _MOST_POINTS)
    nodes, taken, footprints = nodes[::every], taken[::every], _footprints(rows)[::every]
    residual = np.log((taken + COARSE) / (kernel_ns(nodes, rounded, footprints) + COARSE))
    places = np.round(logarithms(nodes, footprints), 3)
    noise = NOISE**2 + (COARSE / (taken + COARSE)) ** 2
    pulls = np.linalg.solve(nearness(places, places) + np.diag(noise), residual)
    return KindCosts(
        linear=rounded.linear,
        points=tuple((float(a), float(b), float(c), float(d), float(e)) for a, b, c, d, e in places),
        pulls=tuple(float(f"{one:.5g}") for one in pulls),
    )


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


def _footprints(rows: Sequence[Timed]) -> Matrix:
    return np.array([row.footprint for row in rows], np.float64)


def profiler_costs(graphs: Sequence[tuple[float, float, int, int]]) -> tuple[float, float]:
    """Return nanoseconds that the profiler adds to each node, and to each for every tensor that it reads or writes,
    whose shapes it takes down.

    Args:
        graphs: sum of the profiled nodes, CPU time without the profiler, nodes, and their inputs and outputs.
    """
    table = np.array(graphs, np.float64)
    weight = 1 / table[:, 1]
    found = non_negative(table[:, 2:] * weight[:, None], (table[:, 0] - table[:, 1]) * weight)
    return float(found[0]), float(found[1])


def _fused(rows: Iterable[Timed], table: dict[str, KindCosts]) -> dict[str, KindCosts]:
    """What activations add to a convolution that does them by the way, per element written."""
    extras: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        kind = f"{row.node.operator}/{row.node.type}"
        if row.node.fused not in CHEAP and row.node.precision != "int8" and kind in table:
            beyond = row.ns - float(kernel_ns([row.node], table[kind], row.footprint)[0])
            extras[row.node.fused].append(beyond / max(row.node.elements_written, 1))
    return {
        f"fused/{name}": KindCosts(linear=(0.0, 0.0, max(float(np.median(found)), 0.0), 0.0, 0.0))
        for name, found in sorted(extras.items())
    }
