"""Fit the per-operator instruction costs in edgekd/latency/instructions.yaml from benchmarks/instructions.csv.

    python benchmarks/instruction_costs.py > edgekd/latency/instructions.yaml

instructions.csv holds what ONNX Runtime 1.31.1's aarch64 library executed per operator under qemu-aarch64 at one
thread, at the level of a Cortex-A53 (no dot product; its float kernels are the A76's) and of a Cortex-A76, for 14
networks in fp32 and S8S8 (per-channel) and for two YOLO detectors in fp32. The profiler's own 28.5 thousand
instructions per node are taken off. The fit is non-negative least squares, reweighted so that a node's error counts by
its share of the whole; the error per class goes to standard error.
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

TABLES = {"neon": "cortex-a53", "dotprod": "cortex-a76"}
FEATURES = ("macs", "read", "written", "weights")
MACS_PER_INSTRUCTION = {("neon", "fp32"): 4, ("dotprod", "fp32"): 4, ("neon", "int8"): 8, ("dotprod", "int8"): 16}
"""Multiply-accumulates of one FMLA, SMULL/SMLAL or SDOT on 128-bit vectors, by their definition."""
FLOORED = {"conv_1x1", "conv_3x3", "conv_other", "conv_grouped", "gemm", "matmul"}
Rows = list[dict[str, str]]


def main() -> None:
    rows = list(csv.DictReader((Path(__file__).parent / "instructions.csv").open()))
    print("# Instructions of ONNX Runtime 1.31.1 for aarch64 per multiply-accumulate, element read, element written,")
    print("# weight read and node, at one thread; fitted by benchmarks/instruction_costs.py to counts under QEMU.")
    for table, core in TABLES.items():
        print(f"{table}:")
        groups: dict[tuple[str, str], Rows] = defaultdict(list)
        for row in rows:
            if row["core"] == core or (row["core"] == "cortex-a76" and _shared(row)):
                groups[row["precision"], row["operator"]].append(row)
        for precision in ("fp32", "int8"):
            print(f"  {precision}:")
            for (_, operator), members in sorted(item for item in groups.items() if item[0][0] == precision):
                costs = fit(members, f"{table} {precision} {operator}")
                print(f"    {operator}: [{', '.join(f'{cost:.4g}' for cost in costs)}]")


def fit(rows: Rows, label: str) -> npt.NDArray[np.float64]:
    """Return instructions per MAC, element read, element written, weight and node, all non-negative."""
    features = np.array([[float(row[name]) for name in FEATURES] + [1.0] for row in rows])
    counted = np.array([float(row["instructions"]) for row in rows])
    times = np.array([float(row["nodes"]) for row in rows])
    # A sum of products cannot take fewer instructions than its multiply-accumulates fill; the fit is of the rest.
    table, precision, operator = label.split()
    floor = 1 / MACS_PER_INSTRUCTION[table, precision] if operator in FLOORED else 0.0
    counted = np.maximum(counted - floor * features[:, 0], 1.0)
    weight = np.sqrt(times / np.abs(counted))
    for _ in range(20):
        costs, _ = nnls(features * weight[:, None], counted * weight)
        fitted = features @ costs
        weight = np.sqrt(times) / np.maximum(fitted, 1e4) ** 0.75
    error = float((np.abs(fitted - counted) * times).sum() / ((counted + floor * features[:, 0]) * times).sum())
    print(f"{label}: {len(rows)} operators, {100 * error:.0f} % mean error by instructions", file=sys.stderr)
    costs[0] += floor
    return np.asarray(costs, np.float64)


def _shared(row: dict[str, str]) -> bool:
    """Kernels that do not use the dot product are the same at both levels, and were counted once."""
    return row["precision"] == "fp32" or not row["operator"].startswith(("conv", "gemm", "matmul"))


if __name__ == "__main__":
    main()
