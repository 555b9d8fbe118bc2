"""Fit the per-operator costs in edgekd/latency/x86.yaml to models of one operator each, timed on this machine.

    python benchmarks/operator_costs.py > edgekd/latency/x86.yaml

Each operator is built in a range of shapes, in float and quantized (U8S8, per channel; products also dynamically),
optimised by ONNX Runtime as this machine has it, layout and all, and timed node by node with the runtime's profiler at
one thread: the mean of the faster half of the runs, the median of ROUNDS interleaved rounds. The reorders, transposes
and Q/DQ nodes that the runtime puts around the operator are timed by the way. The fit is non-negative least squares of
relative errors; the error per operator goes to standard error. Run it on x86 with VNNI.
"""

import json
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from operator_shapes import cases
from scipy.optimize import nnls

from edgekd.calibration.node_times import chain, cpu_time, feed_of, numbered, opened, session_options
from edgekd.device import Numerics
from edgekd.errors import BadInput
from edgekd.latency.graph import NodeCost, summarise
from edgekd.latency.optimised import optimise
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.int8_dynamic import int8_dynamic
from edgekd.schemes.int8_static import int8_static

ROUNDS = 3
SECONDS = 0.03
_POLLUTER = np.zeros(2**20, np.int64)
"""8 MiB that are read between two runs, so that weights come from as far away as they do in a whole network."""
COARSE = 1000.0
"""Nanoseconds by which the profiler may be wrong: below it errors count absolutely, above it relatively."""
SHORTEST = 100.0
"""Nanoseconds; what is shorter drowns in the profiler's own."""
NUMERICS = Numerics(activations="uint8", per_channel=True, reduce_range=False)
Rows = list[tuple[NodeCost, float]]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        graphs = list(_graphs(Path(name)))
        print(f"{len(graphs)} graphs", file=sys.stderr)
        nodes = [summarise(graph, optimised=True).nodes for graph in graphs]
        times: list[list[dict[str, float]]] = [[] for _ in graphs]
        order = list(range(len(graphs)))
        for turn in range(ROUNDS):
            random.Random(turn).shuffle(order)
            for at in order:
                times[at].append(profiled(graphs[at], Path(name)))
        run, dispatched, profiler = dispatch(Path(name))
    rows = [
        (node, max(statistics.median(one[node.name] for one in rounds) - profiler, SHORTEST))
        for there, rounds in zip(nodes, times, strict=True)
        for node in there
    ]
    print(
        "# Nanoseconds of ONNX Runtime 1.31.1 on x86 with AVX512-VNNI at one thread: per multiply-accumulate, element"
    )
    print(
        "# read, element written, weight read and node, by operator class or by class and operator; `run` per inference"
    )
    print("# and `node` per node come on top. Fitted by benchmarks/operator_costs.py; for ratios, not for latencies.")
    print(f"run: {run:.0f}\nnode: {dispatched:.0f}")
    for precision in ("fp32", "int8"):
        print(f"{precision}:")
        groups: dict[str, Rows] = defaultdict(list)
        for row in rows:
            if row[0].precision == precision:
                groups[row[0].operator].append(row)
                if not row[0].operator.startswith("conv_"):
                    groups[f"{row[0].operator}/{row[0].type}"].append(row)
        for key, members in sorted(groups.items()):
            print(f"  {key}: [{', '.join(f'{cost:.4g}' for cost in fit(members, f'{precision} {key}'))}]")


def fit(rows: Rows, label: str) -> npt.NDArray[np.float64]:
    """Return nanoseconds per MAC, element read, element written, weight and node, all non-negative."""
    features = np.array([[n.macs, n.elements_read, n.elements_written, n.weights, 1.0] for n, _ in rows], np.float64)
    taken = np.array([time for _, time in rows])
    weight = 1 / (taken + COARSE)
    costs, _ = nnls(features * weight[:, None], taken * weight)
    error = np.median(np.abs(np.log(np.maximum(features @ costs, 1) / taken)))
    print(f"{label}: {len(rows)} nodes, median error {100 * error:.0f} %", file=sys.stderr)
    return np.asarray(costs, np.float64)


def profiled(graph: onnx.ModelProto, folder: Path) -> dict[str, float]:
    """Run an optimised graph as it is, and return nanoseconds by node name."""
    options = session_options()
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = opened(graph.SerializeToString(), options)
    feed = feed_of(session)
    for _ in range(3):
        session.run(None, feed)
    end = time.perf_counter() + SECONDS
    runs = 0
    while time.perf_counter() < end or runs < 10:
        _POLLUTER.sum()
        session.run(None, feed)
        runs += 1
    written = Path(session.end_profiling())
    taken: dict[str, list[float]] = defaultdict(list)
    for event in json.loads(written.read_text()):
        if event["name"].endswith("_kernel_time"):
            taken[event["name"].removesuffix("_kernel_time")].append(event["dur"])
    written.unlink()
    # The profiler cuts to whole microseconds: half of one is missing on average.
    return {name: 1e3 * (statistics.mean(sorted(all_[3:])[: runs // 2]) + 0.5) for name, all_ in taken.items()}


def dispatch(folder: Path) -> tuple[float, float, float]:
    """Return nanoseconds of CPU time per inference, per node, and of the profiler per node, by chains of nodes whose
    kernels have next to nothing to do."""
    short, long = (cpu_time(chain(count), repeats=50, runs=100) for count in (5, 105))
    node = (long - short) / 100
    profiler = statistics.median(profiled(onnx.load_model_from_string(chain(105)), folder).values())
    return short - 5 * node, node, profiler


def _graphs(folder: Path) -> Iterator[onnx.ModelProto]:
    for at, model in enumerate(cases()):
        path = folder / f"{at}.onnx"
        onnx.save(model, path)
        yield numbered(optimise(path, arm=False, layout=True))
        given = model.graph.input[0].type.tensor_type
        shape = [dim.dim_value for dim in given.shape.dim]
        generator = np.random.default_rng(at)
        inputs = (
            generator.standard_normal((4, *shape[1:]), np.float32)
            if given.elem_type == onnx.TensorProto.FLOAT
            else generator.integers(0, 100, (4, *shape[1:]))
        )
        for number, scheme in enumerate((int8_static, int8_dynamic)):
            out = folder / f"{at}.{number}.onnx"
            try:
                done = scheme(path, out, calibration=CalibrationData(inputs), numerics=NUMERICS)
            except BadInput:  # the quantizer says so of operators without an integer form
                continue
            if not done.skipped:
                yield numbered(optimise(out, arm=False, layout=True))


if __name__ == "__main__":
    main()
