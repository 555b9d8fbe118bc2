"""Fit the constants of edgekd/latency/resident.py to the peaks of the networks of zoo.py, weighed on this machine.

    python benchmarks/memory.py --out build/memory [--models build/zoo]

Each network, float and statically quantized, is loaded and run in a fresh process by the benchmark program; its peak
resident set, less that of the interpreter with numpy and the runtime just imported, is fitted by non-negative least
squares of relative errors. The error printed last is on networks left out of the fit.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import zoo

from edgekd.calibration.fit import non_negative
from edgekd.device import load_profile
from edgekd.latency.graph import summarise
from edgekd.latency.resident import terms
from edgekd.places.host import open_host
from edgekd.places.process import run_program
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.int8_static import int8_static

COARSE = 30_000.0
"""KiB that are added to a peak before errors count relatively: what a process takes besides its model."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/memory"))
    parser.add_argument("--models", type=Path, default=Path("build/zoo"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in zoo.NETS:
        for model in (zoo.export(name, arguments.models), quantized(name, arguments.models)):
            kept = arguments.out / f"{model.stem}.json"
            if not kept.exists():
                kept.write_text(json.dumps(weighed(model)))
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


def quantized(name: str, folder: Path) -> Path:
    """Return the network's statically quantized file in `folder`, written there unless it exists."""
    path = folder / f"{name}.int8_static.onnx"
    if not path.exists():
        calibration = CalibrationData(zoo.samples(name, 16, seed=2))
        int8_static(folder / f"{name}.onnx", path, calibration=calibration, numerics=load_profile("host").numerics)
    return path


def weighed(model: Path) -> dict[str, object]:
    """Return the peak of one file in KiB, and the terms that it is fitted by."""
    spec = {"threads": 1, "seed": 0, "warmup": 3, "min_runs": 3, "min_seconds": 0.0, "max_seconds": 5.0}
    model_spec = {"path": str(model.absolute()), "runtime": "onnxruntime", "session": {}}
    with open_host() as place:
        memory = run_program(place, {**spec, "models": [model_spec]})["memory"]
    return {"peak_kib": memory["steady"] - memory["import"], "terms": terms(summarise(onnx.load(model)))}


def fitted(table: npt.NDArray[np.float64], peaks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the constant of each term."""
    weight = 1 / (peaks + COARSE)
    return non_negative(table * weight[:, None], peaks * weight)


if __name__ == "__main__":
    main()
