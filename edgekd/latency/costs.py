"""What a node costs a core: instructions executed, by level of the instruction set."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgekd.latency.graph import NodeCost
from edgekd.latency.loops import Level, flat, loops

_BEYOND = 16.0
"""A loop that turns this many times more often than in any counted kernel is outside of what the costs were fitted to:
a judgement. Far fewer turns are inside, because what a node takes without any is fitted too."""
_UNKNOWN = "activation/fp32"
"""What stands for operators of a class that was never counted."""
COUNTED = ("total", "multiply", "loads", "stores")


@dataclass(frozen=True)
class Instructions:
    """Instructions of one node, one thread: those that multiply and accumulate (FMLA and FMADD; in int8 SDOT, SMMLA,
    SMULL, SMLAL), all others, and the loads and stores among these."""

    multiply: float
    other: float
    loads: float = 0.0
    stores: float = 0.0

    @property
    def total(self) -> float:
        """All instructions."""
        return self.multiply + self.other


@dataclass(frozen=True)
class _Loop:
    """What one turn of a loop takes, in the order of COUNTED, and its most turns in any counted kernel."""

    most: float
    costs: tuple[float, ...]


def instructions(node: NodeCost, level: Level) -> Instructions:
    """Return what ONNX Runtime 1.31 executes for a node; an estimate (benchmarks/predict_counts.py says how good)."""
    return _priced(node, level)[0]


def outside(nodes: Iterable[NodeCost], level: Level) -> float:
    """Return the share of instructions, 0 to 1, in operators unlike all that the costs were fitted to: never counted,
    of unknown size, or with far longer loops."""
    total = unlike = 0.0
    for node in nodes:
        found, inside = _priced(node, level)
        total += found.total
        unlike += 0.0 if inside else found.total
    return unlike / total if total else 0.0


def _priced(node: NodeCost, level: Level) -> tuple[Instructions, bool]:
    table = _table()
    name, turns = loops(node, level)
    known = table.get((level, name)) or table.get(("", name))
    inside = known is not None and bool(node.extent)
    if known is None:
        name, turns = flat(node)
        known = table.get((level, name)) or table.get(("", name)) or table["", _UNKNOWN]
    sums = [0.0] * len(COUNTED)
    for loop, times in turns.items():
        # A loop that no counted kernel had turns for nothing: its cost is in the others.
        if times and loop in known:
            inside = inside and times <= _BEYOND * known[loop].most
            for at, cost in enumerate(known[loop].costs):
                sums[at] += cost * times
    total, multiply, loads, stores = sums
    multiply = min(multiply, total)
    return Instructions(multiply, total - multiply, loads, stores), inside


@cache
def _table() -> dict[tuple[str, str], dict[str, _Loop]]:
    """The costs by level ("" where the same code runs at every level) and kernel, then by loop."""
    found: dict[tuple[str, str], dict[str, _Loop]] = {}
    with (Path(__file__).parent / "instructions.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            costs = tuple(float(row[name]) for name in COUNTED)
            found.setdefault((row["level"], row["kernel"]), {})[row["loop"]] = _Loop(float(row["most"]), costs)
    return found
