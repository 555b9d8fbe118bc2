"""The table of counted kernels, kernels.csv.xz: its columns, and its lines as nodes."""

import csv
import lzma
from pathlib import Path
from typing import Any

from edgekd.latency.costs import COUNTED
from edgekd.latency.graph import NodeCost
from edgekd.latency.loops import Level

LEVELS: dict[Level, str] = {"neon": "cortex-a53", "dotprod": "cortex-a76"}
VERSION = "1.31.1"
TABLE = Path(__file__).parent / "kernels.csv.xz"
KEYS = ("operator", "type", "precision", "macs", "read", "written", "weights", "extent")
Row = dict[str, Any]
__all__ = ["COUNTED", "KEYS", "LEVELS", "TABLE", "VERSION", "Row", "described", "read"]


def described(cost: NodeCost) -> Row:
    """Return what a count depends on, as the columns of a table."""
    extent = " ".join(f"{name}={size}" for name, size in cost.extent.items())
    values = (
        cost.operator,
        cost.type,
        cost.precision,
        cost.macs,
        cost.elements_read,
        cost.elements_written,
        cost.weights,
        extent,
    )
    return dict(zip(KEYS, values, strict=True))


def read(path: Path) -> list[tuple[NodeCost, dict[str, dict[str, float]]]]:
    """Return every counted kernel with its counts by level."""
    found = []
    with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            operator, kind, precision, *numbers, extent = (row[key] for key in KEYS)
            macs, read, written, weights = map(int, numbers)
            sizes = {name: int(size) for name, size in (part.split("=") for part in extent.split())}
            node = NodeCost("", operator, precision, macs, weights, read, written, kind, sizes)
            found.append((node, {lv: {key: float(row[f"{lv}_{key}"]) for key in COUNTED} for lv in LEVELS}))
    return found
