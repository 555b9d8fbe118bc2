"""Fit the weights of int8 instructions in the crowding (`_WAITING` in edgekd/latency/conversion.py).

    python benchmarks/waiting.py TRUTH

Four weights are fitted to the published networks on two phone-class boards at once, with one crowding per board, and
drawn towards equal weights. The errors are those of networks left out of everything: of the weights on both boards, and
of the crowding. Nothing is written: the weights, divided by the first and rounded, stand in the code.
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import published
from devices import measurement, read_counts, works_of
from scipy.optimize import nnls

from edgekd.device import load_profile
from edgekd.latency.calibration import Measurement, predicted
from edgekd.latency.conversion import cores_at_work, crowd

BOARDS = ("android-mid-range", "dragonwing-q6690")
CLASSES = {
    "conv_1x1": 0,
    "gemm": 0,
    "matmul": 0,
    "conv_3x3": 1,
    "conv_other": 1,
    "conv_grouped": 2,
    "conv_depthwise_3x3": 2,
    "conv_depthwise": 2,
}
NAMES = ("pointwise and products", "spatial", "grouped and depthwise", "instructions that do not multiply")
EQUAL, SHRINKAGE, ROUNDS = 0.01, 0.03, 30
Floats = npt.NDArray[np.float64]


class Table:
    """What the fit sees of the rows: instructions that wait by class, what takes no crowding, and the times."""

    def __init__(self, rows: Sequence[Measurement], boards: Sequence[str]) -> None:
        self.nets = [row.net for row in rows]
        self.boards = np.array([BOARDS.index(board) for board in boards])
        self.times = np.array([row.milliseconds for row in rows])
        pairs = list(zip(rows, boards, strict=True))
        self.waits = np.array([_waits(row, board) for row, board in pairs])
        self.alone = np.array([_alone(row, board) for row, board in pairs])

    def fit(self, kept: list[int]) -> tuple[Floats, Floats]:
        """Weights in nanoseconds by class, and the boards' crowding relative to each other."""
        weights = np.full(4, EQUAL)
        for _ in range(ROUNDS):
            boards = self.crowding(kept, weights)
            shares = self.waits[kept] * boards[self.boards[kept], None] / self.times[kept, None]
            drawn = np.vstack([shares, np.sqrt(SHRINKAGE) / EQUAL * np.eye(4)])
            wanted = np.concatenate([1 - self.alone[kept] / self.times[kept], np.full(4, np.sqrt(SHRINKAGE))])
            weights, _ = nnls(drawn, wanted)
        return weights, boards

    def crowding(self, kept: list[int], weights: Floats) -> Floats:
        found = []
        for board in range(len(BOARDS)):
            mine = [at for at in kept if self.boards[at] == board]
            found.append(np.median((self.times[mine] - self.alone[mine]) / (self.waits[mine] @ weights)))
        return np.array(found) / np.mean(found)

    def ratio(self, at: int, weights: Floats, boards: Floats) -> float:
        """Predicted over published."""
        return float((self.alone[at] + self.waits[at] @ weights * boards[self.boards[at]]) / self.times[at])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", type=Path)
    counted = read_counts()
    rows = [row for row in published.rows(parser.parse_args().truth) if row.target in BOARDS]
    works = [measurement(row, works_of(counted[row.graph, row.precision, row.core])) for row in rows]
    table = Table(works, [row.target for row in rows])
    weights, _ = table.fit(list(range(len(rows))))
    for name, weight in zip(NAMES, weights, strict=True):
        print(f"{name:36} {weight:.4f} ns, {weight / weights[0]:.1f}")
    errors: dict[str, list[float]] = {board: [] for board in BOARDS}
    for at, row in enumerate(rows):
        kept = [other for other, net in enumerate(table.nets) if net != row.net]
        errors[row.target].append(abs(table.ratio(at, *table.fit(kept)) - 1))
    for board, found in errors.items():
        within = ", ".join(f"{np.mean(np.array(found) <= bound):.0%} within {bound:.0%}" for bound in (0.05, 0.1, 0.2))
        print(f"{board}: networks left out of weights and crowding: median {statistics.median(found):.1%}, {within}")


def _waits(row: Measurement, board: str) -> Floats:
    """Million instructions by class, each times the share of the crowding at the cores that it runs on."""
    constants = load_profile(board).latency
    found = np.zeros(4)
    for work in row.works:
        share = crowd(cores_at_work(work, row.threads), constants) / 1e6
        found[CLASSES.get(work.operator, 0)] += share * work.multiply
        found[3] += share * work.other
    return found


def _alone(row: Measurement, board: str) -> float:
    constants = load_profile(board).latency
    alone = {"int8": constants.int8.model_copy(update={"crowding_ns": 0.0})}
    return predicted(row, constants.model_copy(update=alone))


if __name__ == "__main__":
    main()
