"""Fit the constants of edgekd/latency/resident.py to the peaks of random networks, weighed on this machine.

    python benchmarks/memory.py --out build/memory [--networks 40]

Each network that `edgekd devices calibrate host` draws, float and quantized, is loaded and run in a fresh process by
the benchmark program; its peak resident set, less that of the interpreter with numpy and the runtime just imported, is
fitted by non-negative least squares of relative errors. The error printed last is on networks left out of the fit.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from edgekd.calibration.fit import non_negative
from edgekd.calibration.networks import network
from edgekd.calibration.pairs import quantized
from edgekd.device import Numerics
from edgekd.latency.graph import summarise
from edgekd.latency.resident import terms
from edgekd.places.process import run_program

COARSE = 30_000.0
"""KiB that are added to a peak before errors count relatively: what a process takes besides its model."""
SIGNS = Numerics(activations="uint8", per_channel=True, reduce_range=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/memory"))
    parser.add_argument("--networks", type=int, default=40)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(arguments.networks):
        for precision in ("fp32", "int8"):
            kept = arguments.out / f"{number}.{precision}.json"
            if not kept.exists():
                kept.write_text(json.dumps(weighed(number, precision, arguments.out / "network.onnx")))
            rows.append(json.loads(kept.read_text()))
    names = list(rows[0]["terms"])
    table = np.array([[row["terms"][name] for name in names] for row in rows])
    peaks = np.array([row["peak_kib"] for row in rows])
    for name, cost in zip(names, fitted(table, peaks), strict=True):
        print(f"{name:14} {cost:10.3f}")
    folds = np.arange(len(rows)) // 2 % 5
    said = np.concatenate([table[folds == at] @ fitted(table[folds != at], peaks[folds != at]) for at in range(5)])
    true = np.concatenate([peaks[folds == at] for at in range(5)])
    near = np.abs(said - true) <= np.maximum(0.1 * true, 5 * 1024)
    print(f"left out: {near.sum()} of {len(rows)} within 10 % or 5 MiB, {np.percentile(true / said, [5, 95]).round(2)}")


def weighed(number: int, precision: str, path: Path) -> dict[str, object]:
    """Return the peak of one network in KiB, and the terms that it is fitted by."""
    model = network(number)
    onnx.save(quantized(model, SIGNS) if precision == "int8" else model, path)
    spec = {"threads": 1, "seed": 0, "warmup": 3, "min_runs": 3, "min_seconds": 0.0, "max_seconds": 5.0}
    model_spec = {"path": str(path.absolute()), "runtime": "onnxruntime", "session": {}}
    memory = run_program({**spec, "models": [model_spec]})["memory"]
    return {"peak_kib": memory["steady"] - memory["import"], "terms": terms(summarise(onnx.load(path)))}


def fitted(table: npt.NDArray[np.float64], peaks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the constant of each term."""
    weight = 1 / (peaks + COARSE)
    return non_negative(table * weight[:, None], peaks * weight)


if __name__ == "__main__":
    main()
