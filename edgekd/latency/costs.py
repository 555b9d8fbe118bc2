"""What a node costs a core: instructions to multiply and other instructions, by level of the instruction set."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import yaml

from edgekd.latency.graph import NodeCost

Level = Literal["neon", "dotprod"]
"""`neon`: Armv8.0, int8 by widening multiplies. `dotprod`: Armv8.2 SDOT, also for x86 VNNI, which does as much."""

_MULTIPLIES_PER_MAC: dict[tuple[Level, str], float] = {
    ("neon", "fp32"): 1 / 4,
    ("dotprod", "fp32"): 1 / 4,
    ("neon", "int8"): 3 / 16,
    ("dotprod", "int8"): 1 / 16,
}
"""128-bit instructions per multiply-accumulate: by their definition FMLA does 4, SDOT 16, and SMULL + SMLAL + SADALP
together 16, the sequence of ONNX Runtime's NEON kernel."""
_MULTIPLYING = frozenset(("conv_1x1", "conv_3x3", "conv_other", "conv_grouped", "gemm", "matmul", "recurrent"))
_STANDS_FOR = {"recurrent": "gemm", "other": "activation"}
"""Classes that were never counted take the costs of their likest."""
UNCOUNTED = frozenset(_STANDS_FOR)


@dataclass(frozen=True)
class Instructions:
    """Instructions of one node, one thread: those that multiply and accumulate, and all others."""

    multiply: float
    other: float


def instructions(node: NodeCost, level: Level) -> Instructions:
    """Return what ONNX Runtime 1.31 executes for a node; an estimate, 1-2 % off for dense convolutions in float,
    8-16 % in int8, 48 % for grouped ones in int8 and up to 90 % for activations there (mean errors printed by
    benchmarks/instruction_costs.py)."""
    precision = "int8" if node.precision == "int8" else "fp32"
    if node.operator == "view":
        return Instructions(0.0, 800.0)
    kind = _STANDS_FOR.get(node.operator, node.operator)
    table = _tables()[level]
    cost = table[precision].get(kind) or table["fp32"][kind]
    per_mac, per_read, per_written, per_weight, per_node = cost
    total = (
        per_mac * node.macs
        + per_read * node.elements_read
        + per_written * node.elements_written
        + per_weight * node.weights
        + per_node
    )
    multiply = _MULTIPLIES_PER_MAC[level, precision] * node.macs if node.operator in _MULTIPLYING else 0.0
    return Instructions(multiply, max(total - multiply, 0.0))


@cache
def _tables() -> dict[str, dict[str, dict[str, list[float]]]]:
    text = (Path(__file__).parent / "instructions.yaml").read_text(encoding="utf-8")
    tables: dict[str, dict[str, dict[str, list[float]]]] = yaml.safe_load(text)
    return tables
