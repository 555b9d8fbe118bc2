"""How well latencies published for real boards are met: from counted instructions, by `predict`, and by simpler models.

    python benchmarks/devices.py TRUTH [--graphs FOLDER] [--constants]

TRUTH is the folder of published latencies (runtimes.csv, graphs/*.onnx.xz). networks.csv beside this file holds what
ONNX Runtime 1.23.2's aarch64 library executes for those networks, so nothing is emulated here; FOLDER keeps the graphs
that `predict` looks at, torchvision's built and quantized on the first call. Every row is predicted with its network
left out of the fit, and with its family left out. With --constants the fitted rates are printed; nothing is written
into the profiles.
"""

import argparse
import csv
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import published
from published import Row
from scipy.optimize import nnls

from edgekd.device import LatencyConstants, load_profile
from edgekd.latency.calibration import Measurement, band, fit, left_out, predicted
from edgekd.latency.conversion import Work, weight_bytes
from edgekd.latency.predictor import work_of

Counted = dict[tuple[str, str, str], list[dict[str, str]]]
Model = Callable[[Sequence[Measurement], Measurement], float]
"""Milliseconds of one network, from the rows of others."""
GROUPS: tuple[Callable[[Measurement], str], ...] = (lambda row: row.net, lambda row: row.family)
"""What is left out at a time: a network, a family of them."""
DENSE = ("conv_1x1", "gemm", "matmul")
SPATIAL = ("conv_3x3", "conv_other")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--graphs", type=Path, default=Path("build/graphs"))
    parser.add_argument("--constants", action="store_true")
    arguments = parser.parse_args()
    counted = read_counts()
    rows = published.rows(arguments.truth)
    for known in (True, False):
        print("\nthreads, runtime and graph are known" if known else "\nthreads are not stated")
        for target in dict.fromkeys(row.target for row in rows if row.known is known):
            for precision in ("fp32", "int8"):
                mine = [row for row in rows if (row.target, row.precision, row.known) == (target, precision, known)]
                if mine:
                    table(mine, counted, arguments.graphs, arguments.truth, show=arguments.constants)


def table(rows: list[Row], counted: Counted, graphs: Path, truth: Path, *, show: bool) -> None:
    """Print one line per model of latency, network left out and family left out."""
    constants = load_profile(rows[0].target).latency
    counts = [measurement(row, works_of(counted[row.graph, row.precision, row.core])) for row in rows]
    print(f"\n{rows[0].target}, {rows[0].precision}: {len(rows)} rows of {len({row.net for row in rows})} networks")
    print(f"{'':30} network left out: median  <=5 <=10 <=20 %  band holds  half-width   family: median <=10 %")
    if len({row.net for row in rows}) < 2:
        only = [predicted(row, constants) / row.milliseconds - 1 for row in counts]
        print(f"  one network only; with the profile as it is: {', '.join(f'{error:+.0%}' for error in only)}")
        return
    report("counts", *(ratios(counts, constants, group) for group in GROUPS))
    for name, model in simpler(rows, counted).items():
        report(name, *(by_model(counts, model, group) for group in GROUPS))
    modelled = [published.summary(row, graphs, truth) for row in rows]
    kept = [at for at, found in enumerate(modelled) if found]
    asked = [measurement(rows[at], tuple(work_of(n, constants.level) for n in modelled[at].nodes)) for at in kept]
    report("predict", *(transferred(counts, asked, constants, group) for group in GROUPS))
    if show:
        errors = ratios(counts, constants, GROUPS[0])
        low, high = band(errors)
        print("   ", fit(counts, constants, prior=0.0).model_dump()[rows[0].precision])
        print(f"    band of published over predicted: {low:.2f}-{high:.2f}")
        for row, ratio in zip(counts, errors, strict=True):
            print(f"    {row.net:16} {row.milliseconds:9.2f} ms  {ratio - 1:+.3f}")


def ratios(rows: list[Measurement], constants: LatencyConstants, group: Callable[[Measurement], str]) -> list[float]:
    """Predicted over published with a group left out; the profile's own figures are no prior, for they saw the rows."""
    return left_out(rows, constants, prior=0.0, group=group) if len({group(row) for row in rows}) > 1 else []


def transferred(
    counts: list[Measurement],
    asked: list[Measurement],
    constants: LatencyConstants,
    group: Callable[[Measurement], str],
) -> list[float]:
    """As `ratios`, for modelled counts with the rates fitted on real ones."""
    found = []
    for row in asked:
        others = [other for other in counts if group(other) != group(row)]
        if others:
            found.append(predicted(row, fit(others, constants, prior=0.0)) / row.milliseconds)
    return found


def by_model(rows: list[Measurement], model: Model, group: Callable[[Measurement], str]) -> list[float]:
    found = []
    for row in rows:
        others = [other for other in rows if group(other) != group(row)]
        if others:
            found.append(model(others, row) / row.milliseconds)
    return found


def report(name: str, by_net: list[float], by_family: list[float]) -> None:
    errors = np.abs(np.array(by_net) - 1)
    holds, halves = coverage(by_net)
    within = "".join(f"{np.mean(errors <= bound):5.0%}" for bound in (0.05, 0.1, 0.2))
    line = f"  {name:28} {statistics.median(errors):22.1%} {within} {holds:12.0%} {statistics.median(halves):11.0%}"
    if by_family:
        apart = np.abs(np.array(by_family) - 1)
        line += f" {statistics.median(apart):15.1%} {np.mean(apart <= 0.1):6.0%}"
    print(line)


def coverage(found: list[float]) -> tuple[float, list[float]]:
    """Share of rows inside the band that the errors of the other rows give, and the half-widths of these bands."""
    inside, halves = [], []
    for at, ratio in enumerate(found):
        low, high = band(found[:at] + found[at + 1 :])
        inside.append(low <= 1 / ratio <= high)
        halves.append((high - low) / 2)
    return float(np.mean(inside)), halves


def simpler(rows: list[Row], counted: Counted) -> dict[str, Model]:
    """Models with fewer facts or freer constants, each fitted to the relative errors of the other rows."""
    core = load_profile(rows[0].target).latency.level
    nodes = {row.net: counted[row.graph, row.precision, row.core] for row in rows}
    speed = sum(load_profile(rows[0].target).latency.speeds_ghz)
    bandwidth = load_profile(rows[0].target).latency.bandwidth_gb_s
    per_cycle = {"fp32": 8, "int8": 32}[rows[0].precision] // (1 if core == "dotprod" else 2)

    def total(net: str, *keys: str, among: Sequence[str] = ()) -> float:
        chosen = [node for node in nodes[net] if not among or node["operator"] in among]
        return sum(float(node[key]) for node in chosen for key in keys) / 1e6

    def classes(net: str) -> list[float]:
        parts = [total(net, "total", among=DENSE), total(net, "total", among=SPATIAL)]
        return [*parts, total(net, "total") - sum(parts)]

    def two(net: str) -> list[float]:
        multiply = total(net, "multiply_float", "multiply_int8")
        return [multiply, total(net, "total") - multiply]

    def roofline(net: str) -> list[float]:
        size = {"fp32": 4, "int8": 1}[rows[0].precision]
        bound = 0.0
        for node in nodes[net]:
            moved = (float(node["elements"]) + float(node["weights"])) * size / bandwidth
            bound += max(float(node["macs"]) / per_cycle / speed, moved) / 1e6
        return [bound]

    return {
        "counts, one rate": linear(lambda net: [total(net, "total")]),
        "counts, a rate per class": linear(classes),
        "counts, multiplies and others": linear(two),
        "MACs": linear(lambda net: [total(net, "macs")]),
        "roofline, scaled": linear(roofline),
    }


def linear(features: Callable[[str], list[float]]) -> Model:
    """A non-negative sum of features, the relative errors' squares minimised."""

    def model(others: Sequence[Measurement], row: Measurement) -> float:
        table = np.array([features(other.net) for other in others])
        times = np.array([other.milliseconds for other in others])
        costs, _ = nnls(table / times[:, None], np.ones(len(others)))
        return float(np.array(features(row.net)) @ costs)

    return model


def measurement(row: Row, works: tuple[Work, ...]) -> Measurement:
    return Measurement(row.net, works, row.precision, row.threads, row.milliseconds, row.family)


def works_of(nodes: list[dict[str, str]]) -> tuple[Work, ...]:
    found = []
    for node in nodes:
        multiply = float(node["multiply_float"]) + float(node["multiply_int8"])
        streamed = weight_bytes(int(node["weights"]), node["precision"])
        other = float(node["total"]) - multiply
        found.append(Work(node["operator"], node["precision"], multiply, other, streamed, int(node["nodes"])))
    return tuple(found)


def read_counts() -> Counted:
    counted: Counted = defaultdict(list)
    for node in csv.DictReader((Path(__file__).parent / "networks.csv").open()):
        counted[node["network"], node["scheme"], node["core"]].append(node)
    return counted


if __name__ == "__main__":
    main()
