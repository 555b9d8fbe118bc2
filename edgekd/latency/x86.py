"""What an executed operator takes an x86 core with VNNI: for weighing int8 against float, and for x86 devices on which
nothing was timed.

The table was fitted to models of one operator each (benchmarks/operator_costs.py), so it knows how float convolutions
in blocks of channels compete with integer ones. Absolute figures are those of one machine.
"""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from edgekd.device import DeviceProfile
from edgekd.latency.graph import NodeCost


def is_x86_profile(profile: DeviceProfile) -> bool:
    """Whether a device has an x86 processor."""
    return any(one.startswith(("x86", "avx")) for one in profile.isa)


def nanoseconds(node: NodeCost) -> float:
    """Return what one operator takes at one thread, its dispatch included; operators that were never timed take the
    costs of their class, unknown classes those of activations."""
    table = _tables()
    own = table["int8"] if node.precision == "int8" else {}
    keys = (f"{node.operator}/{node.type}", node.operator)
    found = next((costs[key] for costs in (own, table["fp32"]) for key in keys if key in costs), None)
    per_mac, per_read, per_written, per_weight, per_node = found or table["fp32"]["activation"]
    kernel = (
        per_mac * node.macs
        + per_read * node.elements_read
        + per_written * node.elements_written
        + per_weight * node.weights
        + per_node
    )
    return float(kernel + table["node"])


def per_inference() -> float:
    """Return nanoseconds of one call of the runtime that no operator takes."""
    return float(_tables()["run"])


def multiply_ns() -> float:
    """Return nanoseconds of one float multiply-accumulate in a dense convolution."""
    return float(_tables()["fp32"]["conv_3x3"][0])


@cache
def _tables() -> dict[str, Any]:
    tables: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "x86.yaml").read_text(encoding="utf-8"))
    return tables
