"""Count the instructions of thousands of kernels: what the predictor's costs are fitted to.

    python benchmarks/kernels.py --kernels 4000 --seed 0

Every kernel is one node of an ONNX graph of many that do not depend on each other, in a shape drawn from what networks
for small devices have. Graphs are counted as they are, quantized statically (S8S8, per channel) and dynamically; the
nodes that the quantizer and ONNX Runtime put between are counted with them. One line of kernels.csv.xz is one operator
in one precision and extent, with its counts at every level that was asked for.
"""

import argparse
import csv
import lzma
import random
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from kernel_graphs import Graph
from kernel_shapes import graphs
from kernel_table import COUNTED, KEYS, LEVELS, TABLE, VERSION, Row, described
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from edgekd.emulation.count import Counts, count
from edgekd.latency.graph import summarise
from edgekd.latency.optimised import optimise

PER_END = {"total": 1556, "multiply": 0, "loads": 413, "stores": 193}
"""Instructions that the runtime's profiler takes per input and output of a node, to write its shape down: a fit to
seven networks, counted with it and without. Counting takes off what it takes on the average of all nodes."""


class Samples(CalibrationDataReader):  # type: ignore[misc]
    """One draw of every input, integers being zeros, to calibrate with."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], integers: Collection[str] = ()) -> None:
        draw = np.random.default_rng(0)
        floats = {name: draw.standard_normal(shape, np.float32) for name, shape in shapes.items()}
        self.rows = iter([{**floats, **{name: np.zeros(shapes[name], np.int64) for name in integers}}])

    def get_next(self) -> Any:
        return next(self.rows, None)


def variants(graph: Graph, folder: Path) -> Iterator[Path]:
    """Yield the graph as files: float, quantized statically, and its products quantized dynamically."""
    path = folder / "fp32.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(graph.model()), path)
    yield path
    static = folder / "int8.onnx"
    quantize_static(
        path,
        static,
        Samples(graph.inputs, graph.integers),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
    )
    yield static
    dynamic = folder / "dynamic.onnx"
    kinds = ["MatMul", "Gemm", "LSTM"]
    quantize_dynamic(path, dynamic, weight_type=QuantType.QInt8, op_types_to_quantize=kinds)
    yield dynamic


def rows_of(path: Path, levels: list[str]) -> Iterator[Row]:
    """Yield one row per executed node of a file: what it is, and what it executes at every level."""
    graph = optimise(path, arm=True, layout=True)
    costs = {cost.name: cost for cost in summarise(graph, optimised=True).nodes}
    ends = {node.name: len([name for name in (*node.input, *node.output) if name]) for node in graph.graph.node}
    found = {level: count(path, core=LEVELS[level], version=VERSION, by_node=True) for level in levels}
    nodes = {level: _by_name(counts, ends) for level, counts in found.items()}
    for name, cost in costs.items():
        if all(name in nodes[level] for level in levels):
            yield {
                **described(cost),
                **{f"{level}_{key}": nodes[level][name][key] for level in levels for key in COUNTED},
            }


def _by_name(counts: Counts, ends: dict[str, int]) -> dict[str, dict[str, int]]:
    nodes = [node for node in counts.nodes if node.name in ends]
    mean = sum(ends[node.name] for node in nodes) / max(len(nodes), 1)
    found = {}
    for node in nodes:
        taken = node.instructions
        multiplies = taken.multiply_float + taken.multiply_int8
        values = zip(COUNTED, (taken.total, multiplies, taken.loads, taken.stores), strict=True)
        more = ends[node.name] - mean
        found[node.name] = {key: max(round(value - more * PER_END[key]), multiplies) for key, value in values}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--level", choices=LEVELS, action="append", help="default: all")
    parser.add_argument("--out", type=Path, default=TABLE)
    options = parser.parse_args()
    levels = options.level or list(LEVELS)
    seen: set[tuple[Any, ...]] = set()
    with lzma.open(options.out, "wt", newline="") as file, tempfile.TemporaryDirectory() as folder:
        writer = csv.DictWriter(file, [*KEYS, *(f"{level}_{key}" for level in levels for key in COUNTED)])
        writer.writeheader()
        for graph in graphs(options.kernels, random.Random(options.seed)):
            for path in variants(graph, Path(folder)):
                for row in rows_of(path, levels):
                    key = tuple(row[name] for name in KEYS)
                    if key not in seen:
                        seen.add(key)
                        writer.writerow(row)
            print(f"{len(seen)} kernels", flush=True)


if __name__ == "__main__":
    main()
