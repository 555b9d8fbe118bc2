"""How often three gates cry wolf, and how often they miss a slowdown of 5 %, on a machine that has other things to do.

    pip install pytest-benchmark
    python benchmarks/gate.py --out build/gate [--trials 40]

Each trial holds a model of about 3 ms against itself, and against one of 21 instead of 20 equal convolutions, which is
5 % more of the same work. Meanwhile a second process keeps the cores busy, and lets go of them, at random. Three gates:

- `side_by_side`, as `edgekd gate` does.
- Medians of wall time, each model in a process of its own, at either end of the trial: too slow above +3 %, or +5 %.
- pytest-benchmark, the baseline saved at one end of the trial, the build compared with it at the other, by
  `--benchmark-compare-fail` for median, mean and min, each at 3 % and at 5 %.

Every trial is kept in OUT/trials.jsonl, and running it again goes on from there.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from scipy.stats import binomtest

from edgekd.places.timing import bench
from edgekd.regression.side_by_side import side_by_side

LAYERS, CHANNELS, SIZE = 20, 32, 28
RULES = tuple(f"{statistic}:{limit}%" for statistic in ("median", "mean", "min") for limit in (3, 5))
LOAD_THREADS, LOAD_SECONDS = 3, 6.0

Alarm = Callable[[dict[str, Any]], bool]

PYTEST_FILE = """
import os
import numpy
import onnxruntime

def test_inference(benchmark):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
    [entry] = session.get_inputs()
    image = numpy.random.default_rng(0).standard_normal(entry.shape, numpy.float32)
    benchmark(session.run, None, {entry.name: image})
"""


def write_convolutions(path: Path, layers: int, channels: int = CHANNELS, size: int = SIZE) -> Path:
    """Write a model of equal 3x3 convolutions with ReLU, each with weights of its own: all its work is in them."""
    rng = np.random.default_rng(0)
    scale = np.float32((2 / (9 * channels)) ** 0.5)
    shape = [1, channels, size, size]
    nodes, weights = [], []
    for i in range(layers):
        weights.append(
            numpy_helper.from_array(rng.standard_normal((channels, channels, 3, 3), np.float32) * scale, f"w{i}")
        )
        nodes.append(helper.make_node("Conv", [f"t{i}", f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"t{i + 1}"]))
    inputs, outputs = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name in ("t0", f"t{layers}"))
    graph = helper.make_graph(nodes, "convolutions", inputs, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def keep_busy(seed: int) -> None:
    """Compute, and rest, for random times in several threads; now in the caches, now beyond them."""

    def worker(rng: np.random.Generator) -> None:
        while True:
            values = np.ones(int(rng.choice([1 << 14, 1 << 22])), np.float32)
            end = time.monotonic() + rng.uniform(0.2, LOAD_SECONDS)
            while time.monotonic() < end:
                np.sqrt(values, out=values)
            time.sleep(rng.uniform(0.2, LOAD_SECONDS))

    for rng in np.random.default_rng(seed).spawn(LOAD_THREADS):
        threading.Thread(target=worker, args=[rng], daemon=True).start()
    sys.stdin.read()  # until whoever started this ends


@contextmanager
def load(seed: int) -> Iterator[None]:
    """A second process that comes and goes, over the whole of one trial."""
    with subprocess.Popen([sys.executable, __file__, "--busy", str(seed)], stdin=subprocess.PIPE) as process:
        try:
            yield
        finally:
            process.terminate()


def pytest_benchmark(model: Path, folder: Path, name: str, *options: str) -> str:
    """Run pytest-benchmark on a model, keep its figures under a name, and return what it printed."""
    (folder / "test_inference.py").write_text(PYTEST_FILE)
    storage = f"--benchmark-storage=file://{folder / 'saved'}"
    words = ["-p", "no:cacheprovider", "test_inference.py", storage, f"--benchmark-save={name}", *options]
    environment = {**os.environ, "MODEL": str(model.absolute())}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    if not list(folder.glob(f"saved/*/*_{name}.json")):
        raise SystemExit(f"pytest-benchmark did not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout + done.stderr


def trial(baseline: Path, build: Path, folder: Path) -> dict[str, Any]:
    """Let every gate judge `build`; baselines are taken at the beginning, builds at the end, ours in between."""
    before = bench(baseline).latency.p50_ms.value
    pytest_benchmark(baseline, folder, "baseline")
    ours = side_by_side(baseline, build)
    after = bench(build).latency.p50_ms.value
    rules = ["--benchmark-compare-fail", *RULES]  # one option with all rules: of several options the last one counts
    said = pytest_benchmark(build, folder, "build", "--benchmark-compare=0001", *rules)
    failed = re.findall(r"Field '(\w+)' has failed PercentageRegressionCheck: \S+ > (\d+)", said)
    return {
        "side_by_side": ours.model_dump(),
        "medians": after / before,
        "pytest_benchmark": [f"{statistic}:{limit}%" for statistic, limit in failed],
        "load": os.getloadavg()[0],
    }


def alarms() -> dict[str, Alarm]:
    """Whether each gate fails the build, by its name."""
    gates: dict[str, Alarm] = {"side by side": lambda one: one["side_by_side"]["verdict"] == "regression"}
    for limit in (3, 5):
        gates[f"medians of wall time, +{limit} %"] = lambda one, limit=limit: one["medians"] > 1 + limit / 100
    for rule in RULES:
        gates[f"pytest-benchmark, {rule}"] = lambda one, rule=rule: rule in one["pytest_benchmark"]
    return gates


def share(count: int, of: int) -> str:
    """A count with its exact 95 % interval (Clopper and Pearson, 1934)."""
    if not of:
        return "-"
    interval = binomtest(count, of).proportion_ci(0.95, method="exact")
    return f"{count}/{of} ({interval.low:.0%} to {interval.high:.0%})"


def report(trials: list[dict[str, Any]]) -> None:
    """Print the table, and how long ours took."""
    same, slower = ([one for one in trials if one["planted"] == planted] for planted in (False, True))
    print("| gate | false alarms | missed |\n|---|---|---|")
    for name, alarm in alarms().items():
        false, caught = sum(map(alarm, same)), sum(map(alarm, slower))
        print(f"| {name} | {share(false, len(same))} | {share(len(slower) - caught, len(slower))} |")
    ours = [one["side_by_side"] for one in trials]
    unclear = sum(one["verdict"] == "inconclusive" for one in ours)
    print(
        f"side by side: {share(unclear, len(ours))} inconclusive; load {np.median([one['load'] for one in trials]):.1f}"
    )
    for name, planted in (("itself", False), ("slower", True)):
        some = [one["side_by_side"] for one in trials if one["planted"] == planted]
        ratios, processes, seconds = (
            np.array([get(one) for one in some])
            for get in (lambda one: one["ratio"]["value"], lambda one: one["processes"], lambda one: one["seconds"])
        )
        if some:
            print(
                f"{name}: ratio {np.median(ratios):.3f}, {np.median(processes):.0f} processes, "
                f"{np.median(seconds):.0f} s (medians), {seconds.max():.0f} s at most"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/gate"))
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--busy", type=int, metavar="SEED", help="only be the second process")
    chosen = parser.parse_args()
    if chosen.busy is not None:
        return keep_busy(chosen.busy)
    chosen.out.mkdir(parents=True, exist_ok=True)
    kept = chosen.out / "trials.jsonl"
    trials = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    baseline, itself, slower = (
        write_convolutions(chosen.out / f"{name}.onnx", layers)
        for name, layers in (("baseline", LAYERS), ("itself", LAYERS), ("slower", LAYERS + 1))
    )
    for number in range(len(trials), 2 * chosen.trials):
        planted = bool(number % 2)
        with load(number), tempfile.TemporaryDirectory() as folder:
            found = trial(baseline, slower if planted else itself, Path(folder))
        trials.append({"planted": planted, **found})
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(trials[-1]) + "\n")
        print(number, planted, found["side_by_side"]["reason"], file=sys.stderr)
    report(trials)


if __name__ == "__main__":
    main()
