"""Fit the rates in device_profiles/*.yaml to published measurements, and say how far off they are.

    python benchmarks/predictor.py TRUTH [--graphs FOLDER]

TRUTH is the folder of published latencies (runtimes.csv, ncnn_cpu.csv, graphs/*.onnx.xz). FOLDER keeps the exports of
torchvision's models between calls. Nothing is written to the profiles: the figures are printed, and whoever changes a
profile copies them there together with their source.
"""

import argparse
import csv
import lzma
import statistics
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from scipy.optimize import nnls

from edgekd.latency.costs import Level, instructions
from edgekd.latency.graph import NodeCost, as_if, summarise

Floats = npt.NDArray[np.float64]
TORCHVISION = {
    "googlenet": "googlenet",
    "regnet": "regnet_x_3_2gf",
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "resnet101": "resnet101",
    "resnext50": "resnext50_32x4d",
    "shufflenet_v2": "shufflenet_v2_x1_0",
    "inception_v3": "inception_v3",
}
CARRIED = {
    "raspberry-pi-3b-plus": ("Raspberry Pi 3 Model B", "Raspberry Pi 4 Model B", 4, 4),
    "rk3588, one submission": ("Rockchip RK3588 (Cortex-A76 2.4GHz", "Raspberry Pi 5 Broadcom BCM2712, ", 4, 4),
    "rk3588, another": ("Rockchip RK3588 (Quad Core A76", "Raspberry Pi 5 Broadcom BCM2712, ", 4, 4),
    "rk3566": ("OrangePicm4", "Raspberry Pi 5 Broadcom BCM2712, ", 4, 4),
    "android-flagship": ("Qualcomm SM8550-AB Snapdragon 8 Gen 2", "Raspberry Pi 5 Broadcom BCM2712, ", 4, 4),
    "jetson-orin-nano, by the AGX Orin": ("NVIDIA Jetson AGX Orin", "Raspberry Pi 5 Broadcom BCM2712, ", 4, 4),
}
"""Profile to (device in ncnn's table, reference device there, threads of either)."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("truth", type=Path)
    parser.add_argument("--graphs", type=Path, default=Path("build/graphs"))
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    rows = list(csv.DictReader((arguments.truth / "runtimes.csv").open()))
    pi(rows, arguments.truth, "Raspberry Pi 5", multiplies_per_cycle=2, ghz=2.4)
    pi(rows, arguments.truth, "Raspberry Pi 4B", multiplies_per_cycle=1, ghz=1.8)
    phone(rows, arguments.graphs, "Snapdragon 7 Gen 4 QRD", multiplies_per_ns=4 * (2.8 + 4 * 2.4))
    carried(list(csv.DictReader((arguments.truth / "ncnn_cpu.csv").open())))
    n100(rows)


def features(nodes: tuple[NodeCost, ...], level: Level) -> tuple[float, float, float]:
    """Million multiplying instructions, million others, megabytes of weights."""
    counts = [instructions(node, level) for node in nodes]
    weights = sum(node.weights * (1 if node.precision == "int8" else 4) for node in nodes)
    return sum(c.multiply for c in counts) / 1e6, sum(c.other for c in counts) / 1e6, weights / 1e6


def pi(rows: list[dict[str, str]], truth: Path, device: str, *, multiplies_per_cycle: int, ghz: float) -> None:
    """One unknown: nanoseconds per other instruction at four threads. The multiplies go at the core's peak."""
    multiply_ns = 1 / (multiplies_per_cycle * ghz * 4)
    level: Level = "dotprod" if multiplies_per_cycle == 2 else "neon"
    points = []
    for row in rows:
        graph = truth / "graphs" / f"{row['model']}.onnx.xz"
        if (
            row["device"] == device
            and row["runtime"] == "onnxruntime"
            and row["precision"] == "fp32"
            and graph.exists()
        ):
            multiply, other, _ = features(
                summarise(onnx.load_from_string(lzma.decompress(graph.read_bytes()))).nodes, level
            )
            points.append((row["model"], multiply * multiply_ns, other, float(row["latency_ms"])))
    known = np.array([point[1:] for point in points])

    def fit(part: Floats) -> Floats:
        return np.array([1.0, np.median((part[:, 2] - part[:, 0]) / part[:, 1])])

    print(f"{device}, fp32, 4 threads: multiply_ns {multiply_ns:.4g}, other_ns {fit(known)[1]:.4g}")
    _left_out([point[0] for point in points], known[:, :2], known[:, 2], fit_of=fit, table=known)


def phone(rows: list[dict[str, str]], graphs: Path, device: str, *, multiplies_per_ns: float) -> None:
    """Two unknowns, non-negative: ns per other instruction, ms per megabyte of weights. The multiplies go at the peak
    of all big cores: with int8 matrix products, two a cycle, each the work of two dot products."""
    points = []
    for row in rows:
        if row["device"] == device and row["precision"] == "int8" and row["model"] in TORCHVISION:
            nodes = as_if(summarise(onnx.load(str(_export(row["model"], graphs)))).nodes, "int8")
            points.append((row["model"], *features(nodes, "dotprod"), float(row["latency_ms"])))
    table = np.array([point[1:] for point in points])

    def fit(part: Floats) -> Floats:
        left = 1 - part[:, 0] / multiplies_per_ns / part[:, 3]
        solution, _ = nnls(part[:, 1:3] / part[:, 3:], left)
        return np.array([1 / multiplies_per_ns, *solution])

    multiply_ns, other_ns, ms_per_mb = fit(table)
    print(f"{device}, int8: multiply_ns {multiply_ns:.4g}, other_ns {other_ns:.4g}, {1 / ms_per_mb:.3g} GB/s")
    _left_out([point[0] for point in points], table[:, :3], table[:, 3], fit_of=fit, table=table)


def _left_out(
    names: list[str], inputs: Floats, times: Floats, *, fit_of: Callable[[Floats], Floats], table: Floats
) -> None:
    """Print predicted over published for each model, fitted on rows of other models only."""
    errors = []
    for at, name in enumerate(names):
        keep = np.array([other != name for other in names])
        if keep.any():
            errors.append(float(inputs[at] @ fit_of(table[keep]) / times[at]))
            print(f"    {name}: {errors[-1]:.2f} of the published {times[at]:.1f} ms")
    if errors:
        middle = 100 * statistics.median(abs(error - 1) for error in errors)
        print(f"    median error {middle:.0f} %, {min(errors):.2f}-{max(errors):.2f}")


def carried(rows: list[dict[str, str]]) -> None:
    """One scalar per device against its reference, from ncnn's own table: same model, same kind of arithmetic."""

    def times(device: str, threads: int) -> dict[tuple[str, str], float]:
        found: dict[tuple[str, str], float] = {}
        for row in rows:
            usable = row["device"].startswith(device) and row["gpu"] == "False" and row["suspect"] == "0"
            if usable and int(row["threads"]) == threads:
                key = (row["model"], row["arith"])
                found[key] = min(found.get(key, float("inf")), float(row["min_ms"]))
        return found

    for name, (device, reference, threads, reference_threads) in CARRIED.items():
        ours, theirs = times(device, threads), times(reference, reference_threads)
        ratios = sorted(ours[key] / theirs[key] for key in ours.keys() & theirs.keys())
        if len(ratios) < 5:
            print(f"{name}: {len(ours)} and {len(theirs)} rows, no common ground")
            continue
        low, middle, high = np.quantile(ratios, [0.05, 0.5, 0.95])
        print(
            f"{name}: {middle:.3g} x the time of {reference.strip(', ')} ({low:.3g}-{high:.3g}, {len(ratios)} models)"
        )


def n100(rows: list[dict[str, str]]) -> None:
    """N100 against Raspberry Pi 5, both under TFLite with XNNPACK."""
    found = {
        (row["device"], row["threads"], row["precision"], row["model"]): float(row["latency_ms"])
        for row in rows
        if row["runtime"] == "tflite-xnnpack"
    }
    for precision in ("fp32", "int8"):
        for threads in ("1", "2", "3", "4"):
            ratios = [
                time / found["Raspberry Pi 5", *key[1:]]
                for key, time in found.items()
                if key[:3] == ("N100", threads, precision) and ("Raspberry Pi 5", *key[1:]) in found
            ]
            if ratios:
                print(f"N100 / Raspberry Pi 5, {precision}, {threads} threads: {[f'{ratio:.2f}' for ratio in ratios]}")


def _export(name: str, graphs: Path) -> Path:
    path = graphs / f"{name}.onnx"
    if not path.exists():
        import torch
        import torchvision

        options = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
        model = getattr(torchvision.models, TORCHVISION[name])(**options).eval()
        side = 299 if name == "inception_v3" else 224
        graphs.mkdir(parents=True, exist_ok=True)
        torch.onnx.export(model, (torch.zeros(1, 3, side, side),), str(path), dynamo=False, opset_version=17)
    return path


if __name__ == "__main__":
    main()
