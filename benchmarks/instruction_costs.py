"""Fit what one turn of each loop costs (edgekd/latency/instructions.csv) to the kernels counted in kernels.csv.xz.

    python benchmarks/instruction_costs.py

Non-negative least squares of relative errors, kernel by kernel of `edgekd.latency.loops`; for operators that were never
counted, class by class. Where no instruction of the kernel depends on the level, both levels share one line. The error
per kernel goes to standard output: each fifth kernel predicted by a fit to the others.
"""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
from kernel_table import LEVELS, TABLE, read
from scipy.optimize import nnls

from edgekd.latency.costs import COUNTED
from edgekd.latency.graph import NodeCost
from edgekd.latency.loops import Level, Loops, flat, loops

OUT = Path(__file__).parents[1] / "edgekd" / "latency" / "instructions.csv"
SMALL = 5000.0
"""Instructions beside which an error is not counted relative to the kernel alone."""
FOLDS = 5
ROUNDS, ODD = 4, 0.03
"""The fit is repeated, and what was off by more than this share has less of a say."""
Array = npt.NDArray[np.float64]
Counted = list[tuple[Loops, dict[str, float]]]


def main() -> None:
    counted = read(TABLE)
    lines: list[list[str]] = []
    for level, name, rows in grouped(counted):
        kept = list(dict.fromkeys(loop for turns, _ in rows for loop in turns))
        costs = {key: fit(rows, kept, key) for key in COUNTED}
        for at, loop in enumerate(kept):
            if any(costs[key][at] > 0 for key in COUNTED):
                most = max(turns.get(loop, 0.0) for turns, _ in rows)
                lines.append([level, name, loop, f"{most:.6g}", *(f"{costs[key][at]:.4g}" for key in COUNTED)])
        report(f"{level or 'all'} {name}", rows, kept)
    with OUT.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["level", "kernel", "loop", "most", *COUNTED])
        writer.writerows(lines)


def grouped(counted: list[tuple[NodeCost, dict[str, dict[str, float]]]]) -> list[tuple[str, str, Counted]]:
    """Return level ("" for all), kernel and its rows, the stand-ins of the classes last."""
    groups: dict[tuple[Level, str], Counted] = defaultdict(list)
    for at, standing in enumerate((loops, lambda node, level: flat(node))):
        for node, counts in counted:
            for level in LEVELS:
                name, turns = standing(node, level)
                if at == 0 or (level, name) not in groups or groups[level, name][0][0].keys() == turns.keys():
                    groups[level, name].append((turns, counts[level]))
    found: list[tuple[str, str, Counted]] = []
    for (level, name), rows in groups.items():
        if not _same(groups.get(("neon", name), []), groups.get(("dotprod", name), [])):
            found.append((level, name, rows))
        elif level == "dotprod":
            found.append(("", name, rows))
    return found


def _same(one: Counted, other: Counted) -> bool:
    """Whether nearly all kernels take as much at both levels, in loops that turn as often."""
    alike = [
        turns == others and abs(counts["total"] - there["total"]) < 0.01 * counts["total"] + 2000
        for (turns, counts), (others, there) in zip(one, other, strict=False)
    ]
    return len(one) == len(other) and sum(alike) >= 0.9 * len(alike)


def fit(rows: Counted, kept: list[str], key: str) -> Array:
    """Return the cost of one turn of every loop, none negative."""
    turns = np.array([[one.get(loop, 0.0) for loop in kept] for one, _ in rows])
    counts = np.array([count[key] for _, count in rows])
    weight = 1 / (np.array([count["total"] for _, count in rows]) + SMALL)
    scale = np.maximum((turns * weight[:, None]).max(axis=0), 1e-30)
    costs = np.zeros(len(kept))
    trust = np.ones(len(rows))
    for _ in range(ROUNDS):
        each = weight * trust
        costs, _ = nnls(turns * each[:, None] / scale, counts * each, maxiter=1000)
        trust = np.sqrt(1 / np.maximum(np.abs(turns / scale @ costs - counts) * weight / ODD, 1))
    return np.asarray(costs / scale, np.float64)


def report(label: str, rows: Counted, kept: list[str]) -> None:
    """Print the relative errors of kernels that the fit did not see."""
    if len(rows) < 2 * FOLDS:
        print(f"{label}: {len(rows)} kernels")
        return
    errors = np.zeros(len(rows))
    for fold in range(FOLDS):
        costs = fit([row for at, row in enumerate(rows) if at % FOLDS != fold], kept, "total")
        for at in range(fold, len(rows), FOLDS):
            turns, count = rows[at]
            predicted = sum(cost * turns.get(loop, 0.0) for loop, cost in zip(kept, costs, strict=True))
            errors[at] = abs(predicted - count["total"]) / (count["total"] + SMALL)
    middle, high = 100 * np.percentile(errors, (50, 90))
    print(f"{label}: {len(rows)} kernels, error {middle:.1f} % median, {high:.1f} % at the ninetieth percentile")


if __name__ == "__main__":
    main()
