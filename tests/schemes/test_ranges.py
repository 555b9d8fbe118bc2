"""Ranges of activations: exact extremes, thresholds by their definitions, a table that is reused, bounded memory."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.errors import BadInput
from edgekd.evidence import stored_ranges
from edgekd.schemes.calibration import METHODS, CalibrationData
from edgekd.schemes.histogram import (
    BINS,
    add_magnitudes,
    empty_histogram,
    entropy_threshold,
    percentile_threshold,
)
from edgekd.schemes.quantizer import prepare
from edgekd.schemes.ranges import find_ranges


def two_step(path: Path, factor: float = 2.0, batch: int | str = "batch") -> Path:
    """y = relu(x * factor), of x (batch, 4)."""
    nodes = [helper.make_node("Mul", ["input", "factor"], ["scaled"]), helper.make_node("Relu", ["scaled"], ["logits"])]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 4])],
        [numpy_helper.from_array(np.float32(factor), "factor")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def inputs(count: int = 500) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 4)).astype(np.float32)


@pytest.mark.parametrize("batch", ["batch", 5])
def test_minmax_is_the_least_and_the_greatest_value(tmp_path: Path, batch: int | str) -> None:
    data, prepared = inputs(), prepare(two_step(tmp_path / "m.onnx", batch=batch))
    found = find_ranges(prepared.graph, CalibrationData(data), "minmax").ranges
    assert found["input"] == (float(data.min()), float(data.max()))
    assert found["scaled"] == (float(2 * data.min()), float(2 * data.max()))
    assert found["logits"] == (0.0, float(2 * data.max()))
    assert "factor" not in found


def test_a_percentile_cuts_the_outlier_and_stays_inside_the_extremes(tmp_path: Path) -> None:
    data = np.clip(inputs(20_000), -1, 1)
    data[7, 2] = 1000.0
    prepared = prepare(two_step(tmp_path / "m.onnx"))
    cut = find_ranges(prepared.graph, CalibrationData(data), "percentile").ranges["scaled"]
    assert cut[0] == -2.0
    assert 2.0 <= cut[1] <= 2.0 + 2 * 2000 / BINS  # to within two bins of 2000 / BINS


def test_the_percentile_is_that_of_magnitudes_without_zeros() -> None:
    values = np.concatenate([np.zeros(10**6), np.linspace(0.001, 1.0, 10**5), -np.linspace(0.001, 1.0, 10**5)])
    counts = empty_histogram()
    add_magnitudes(counts, values.astype(np.float32), 1.0)
    assert counts.sum() == 2 * 10**5
    exact = np.quantile(np.abs(values[values != 0]), 0.9999)
    assert percentile_threshold(counts, False) == pytest.approx(exact, abs=1 / BINS)


def test_entropy_keeps_what_is_even_and_cuts_a_lone_outlier() -> None:
    even, lone = empty_histogram(), empty_histogram()
    even[:] = 100
    assert entropy_threshold(even, True) == pytest.approx(1.0, abs=20 / BINS)
    lone[:] = 1e6 * np.exp(-np.arange(BINS) / 20)  # nothing is left of it after 280 bins
    lone[-1] = 1
    assert 200 / BINS <= entropy_threshold(lone, True) < 300 / BINS


@pytest.mark.parametrize("seed", range(3))
def test_entropy_is_the_minimum_of_its_definition(seed: int) -> None:
    """Against the definition written out in loops, over the same thresholds."""
    rng = np.random.default_rng(seed)
    counts = np.bincount(np.minimum(np.abs(rng.laplace(0, 80, 20_000)), BINS - 1).astype(int), minlength=BINS)

    def divergence(upto: int) -> float:
        kept = counts[:upto].astype(float)
        p = kept.copy()
        p[-1] += counts[upto:].sum()
        q = np.zeros(upto)
        edges = [int(k * upto / 128) for k in range(129)]
        for low, high in pairwise(edges):
            nonzero = [b for b in range(low, high) if kept[b] > 0]
            for b in nonzero:
                q[b] = kept[low:high].sum() / len(nonzero)
        p, q = p / p.sum(), np.maximum(q / q.sum(), np.finfo(float).eps)
        return sum(a * np.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)

    best = min(range(128, BINS + 1, 16), key=divergence)
    assert entropy_threshold(counts, False) == best / BINS


@pytest.mark.parametrize("method", METHODS)
def test_a_table_is_kept_and_taken_again(tmp_path: Path, method: str) -> None:
    prepared = prepare(two_step(tmp_path / "m.onnx"))
    data = CalibrationData(inputs(), tables=tmp_path)
    table = find_ranges(prepared.graph, data, method)
    (kept,) = tmp_path.glob("ranges-*.json")
    content = json.loads(kept.read_text())
    assert (content["method"], content["data"], content["inputs"]) == (method, data.sha256, 500)
    content["ranges"]["scaled"] = [-7.0, 7.0]  # what is read again is what is kept
    kept.write_text(json.dumps(content))
    assert find_ranges(prepared.graph, data, method).ranges["scaled"] == (-7.0, 7.0)
    other = CalibrationData(2 * inputs(), tables=tmp_path)
    assert find_ranges(prepared.graph, other, method).ranges["scaled"] != (-7.0, 7.0)
    assert table.ranges["scaled"] != (-7.0, 7.0)


def test_a_spoiled_table_is_refused_by_its_name(tmp_path: Path) -> None:
    prepared = prepare(two_step(tmp_path / "m.onnx"))
    data = CalibrationData(inputs(), tables=tmp_path)
    find_ranges(prepared.graph, data, "minmax")
    (kept,) = tmp_path.glob("ranges-*.json")
    kept.write_text("{}")
    with pytest.raises(BadInput, match=kept.name):
        find_ranges(prepared.graph, data, "minmax")


def test_a_tensor_that_overflows_is_named(tmp_path: Path) -> None:
    prepared = prepare(two_step(tmp_path / "m.onnx", factor=3e38))
    with pytest.raises(BadInput, match="'scaled' takes infinite"):
        find_ranges(prepared.graph, CalibrationData(10 * inputs()), "minmax")


MEASURE = """
import sys, numpy as np
from pathlib import Path
from functools import partial
from edgekd.schemes.calibration import CalibrationData, METHODS
from edgekd.schemes.quantizer import prepare
from edgekd.schemes.ranges import find_ranges
from edgekd.benchmark_program import peak_kib
model, method, count = sys.argv[1:]
prepared = prepare(Path(model))
def images(rows):
    return np.stack([np.random.default_rng(int(r)).random((3, 64, 64), np.float32) for r in rows])
find_ranges(prepared.graph, CalibrationData(np.arange(int(count)), prepare=images), method)
print(peak_kib())
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path, method: str) -> None:
    weight = np.random.default_rng(0).standard_normal((64, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["logits"]),
        ],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 64, 64])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 64, 64, 64])],
        [numpy_helper.from_array(weight, "w")],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)

    def peak(count: int) -> float:
        command = [sys.executable, "-c", MEASURE, str(path), method, str(count)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    few, many = peak(20), peak(1000)
    kept_whole = 980 * 2 * 64 * 64 * 64 * 4 / 1024  # what holding every activation would add, in KiB
    assert many - few < kept_whole / 40


def test_given_ranges_are_taken_where_they_are_of_the_graph(tmp_path: Path) -> None:
    prepared = prepare(two_step(tmp_path / "m.onnx"))
    table = find_ranges(prepared.graph, CalibrationData(inputs()), "minmax")
    other = CalibrationData(9 * inputs(), given=table)
    assert find_ranges(prepared.graph, other, "minmax") is table
    assert find_ranges(prepared.graph, other, "percentile").ranges["scaled"] != table.ranges["scaled"]
    changed = prepare(two_step(tmp_path / "other.onnx", factor=3.0))
    assert find_ranges(changed.graph, other, "minmax").ranges["scaled"][1] == pytest.approx(27 * inputs().max())


def test_stored_ranges_of_another_graph_are_refused(tmp_path: Path) -> None:
    model = two_step(tmp_path / "m.onnx")
    find_ranges(prepare(model).graph, CalibrationData(inputs(), tables=tmp_path), "minmax")
    (kept,) = tmp_path.glob("ranges-*.json")
    used = {"minmax"}
    assert stored_ranges(kept, model, used=used).inputs == 500
    with pytest.raises(BadInput, match="no scheme that competes takes them so"):
        stored_ranges(kept, model, used={"entropy"})
    good = json.loads(kept.read_text())
    for ranges, words in (({"input": [0, 1]}, "no range of tensor"), ({"scaled": [2.0, 1.0]}, "'scaled' is none")):
        spoiled = {**good["ranges"], **ranges} if "scaled" in ranges else ranges
        kept.write_text(json.dumps({**good, "ranges": spoiled}))
        with pytest.raises(BadInput, match=words):
            stored_ranges(kept, model, used=used)
    kept.write_text(json.dumps(good))
    with pytest.raises(BadInput, match=r"ranges of another graph than other\.onnx"):
        stored_ranges(kept, two_step(tmp_path / "other.onnx", factor=3.0), used=used)
