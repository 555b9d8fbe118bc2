"""How often does comparing two builds cry wolf, and how often does it see a real +7 %?

    python benchmarks/gate_statistic.py [--trials 20] [--model FILE.onnx]

A model is compared with itself, and a chain of 15 equal MatMuls with one of 14, in two ways: as edgekd does (fresh
processes, both models in turn, CPU time, interval over processes; an alarm is an interval wholly above 1), and as is
usual (one model timed after the other, medians of wall time; an alarm is a ratio above 1.05). The more the machine has
to do besides, the more telling: run it beside something that keeps all cores busy.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgekd.places.timing import bench, compare

USUAL_LIMIT = 1.05


def write_chain(path: Path, count: int, width: int = 256, rows: int = 64) -> Path:
    """Write a model of `count` MatMuls, each with weights of its own."""
    rng = np.random.default_rng(0)
    scale = np.float32(width**-0.5)
    weights = [rng.standard_normal((width, width), np.float32) * scale for _ in range(count)]
    graph = helper.make_graph(
        [helper.make_node("MatMul", [f"t{i}", f"w{i}"], [f"t{i + 1}"]) for i in range(count)],
        "chain",
        [helper.make_tensor_value_info("t0", TensorProto.FLOAT, [1, rows, width])],
        [helper.make_tensor_value_info(f"t{count}", TensorProto.FLOAT, [1, rows, width])],
        [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def trial(name: str, baseline: Path, candidate: Path, trials: int) -> None:
    """Compare two models `trials` times in both ways and print one line each."""
    alarms = usual = excludes = 0
    ratios, widths, start = [], [], time.monotonic()
    for _ in range(trials):
        ratio = compare(baseline, candidate)
        low, high = float(ratio.low or 0), float(ratio.high or 0)
        excludes += not low <= 1 <= high
        alarms += low > 1
        ratios.append(ratio.value)
        widths.append((high - low) / 2)
        one, other = (bench(path, min_seconds=2.0).latency.p50_ms.value for path in (baseline, candidate))
        usual += other / one > USUAL_LIMIT
    print(f"{name}: ratio {np.median(ratios):.3f} +- {np.median(widths):.3f} (median), load {os.getloadavg()[0]:.1f}")
    print(f"  paired CPU time: 1 outside the interval {excludes}/{trials}, slower {alarms}/{trials}")
    print(f"  wall medians:    slower {usual}/{trials}    ({(time.monotonic() - start) / trials:.0f} s per trial)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--model", type=Path, help="compare this one with itself, too")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        short, long = (write_chain(Path(folder, f"{count}.onnx"), count) for count in (14, 15))
        trial("a chain with itself", short, short, chosen.trials)
        trial("a chain 7 % longer", short, long, chosen.trials)
    if chosen.model:
        trial(f"{chosen.model.name} with itself", chosen.model, chosen.model, chosen.trials)


if __name__ == "__main__":
    main()
