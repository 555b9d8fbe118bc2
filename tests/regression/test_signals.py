"""Each signal by hand arithmetic: what changed, by how much, and whether that is worth failing a build for."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.figures import Counted, Figures, Number, Word
from edgekd.regression.signals import SIGNALS, compare, different_operators, facts_of_file, facts_of_records

NAN, INFINITY = float("nan"), float("inf")


def exact(value: float, unit: str = "KiB", word: Word = "measured") -> Number:
    return Number(value=value, low=value, high=value, unit=unit, word=word, place="file")


def score(value: float, half: float | None) -> Number:
    bounds = {} if half is None else {"low": value - half, "high": value + half}
    return Number(value=value, **bounds, unit="score", word="measured", place="host", n=1000)


@pytest.mark.parametrize(
    ("metric", "before", "now", "change", "verdict"),
    [
        ("size", 200.0, 202.0, 0.01, "pass"),  # 1 % is the smallest effect
        ("size", 200.0, 202.1, 0.0105, "regression"),
        ("size", 200.0, 197.0, -0.015, "improvement"),
        ("macs", 1e6, 1.005e6, 0.005, "pass"),
        ("macs", 1e6, 1.0051e6, 0.0051, "regression"),
        ("instructions", 1e9, 1.01e9, 0.01, "regression"),
        ("instructions", 1e9, 1.0049e9, 0.0049, "pass"),
        ("instructions", 1e9, 0.99e9, -0.01, "improvement"),
        ("arena", 64.0, 65.0, 0.015625, "regression"),
        ("latency", 10.0, 10.29, 0.029, "pass"),
        ("latency", 10.0, 10.31, 0.031, "regression"),
        ("conversions", 3.0, 3.0, 0.0, "pass"),
        ("conversions", 3.0, 5.0, 2.0, "regression"),
        ("conversions", 0.0, 1.0, 1.0, "regression"),
        ("conversions", 3.0, 2.0, -1.0, "improvement"),
        ("operators", 10.0, 11.0, 1.0, "regression"),
    ],
)
def test_what_is_exact_decides_by_its_value(
    metric: str, before: float, now: float, change: float, verdict: str
) -> None:
    found = compare(metric, exact(before), exact(now))
    assert found.change is not None and found.change.value == pytest.approx(change, abs=1e-12)
    assert found.change.unit == SIGNALS[metric].by
    assert (found.verdict, found.smallest_effect) == (verdict, SIGNALS[metric].smallest_effect)
    assert found.severity == ("warn" if metric == "operators" else "error")


@pytest.mark.parametrize(
    ("before", "now", "half", "verdict", "said"),
    [
        (0.93, 0.925, 0.001, "pass", ""),  # half a point is the smallest effect
        (0.93, 0.9249, 0.001, "regression", ""),
        (0.93, 0.9249, 0.004, "inconclusive", "includes no change"),  # half width 0.4 x sqrt(2) = 0.57 points
        (0.93, 0.920, 0.004, "regression", ""),
        (0.93, 0.940, 0.004, "improvement", ""),
        (0.93, 0.9351, 0.004, "pass", "includes no change"),
        (0.93, 0.920, None, "regression", ""),
    ],
)
def test_a_score_must_lose_more_than_chance(
    before: float, now: float, half: float | None, verdict: str, said: str
) -> None:
    found = compare("score", score(before, half), score(now, half))
    assert (found.verdict, said in found.reason) == (verdict, True)
    assert found.change is not None and found.change.unit == "fraction"
    assert found.change.value == pytest.approx(now - before)
    if half is not None:
        assert found.change.low == pytest.approx(now - before - half * 2**0.5)
        assert found.change.high == pytest.approx(now - before + half * 2**0.5)


def test_bounds_of_a_difference_take_the_side_that_faces_the_other() -> None:
    """Low: now's lower and the baseline's upper half width; hypot(3, 4) = 5 and hypot(1, 2)."""
    before = Number(value=0.5, low=0.48, high=0.54, unit="score", word="measured", place="host")
    now = Number(value=0.5, low=0.47, high=0.51, unit="score", word="measured", place="host")
    change = compare("score", before, now).change
    assert change is not None
    assert change.low == pytest.approx(-0.05) and change.high == pytest.approx(5**0.5 / 100)


def test_memory_that_was_measured_may_vary_more_than_what_was_estimated() -> None:
    assert compare("memory", exact(1000, word="estimated"), exact(1040, word="estimated")).verdict == "regression"
    assert compare("memory", exact(1000), exact(1040)).verdict == "pass"
    assert compare("memory", exact(1000), exact(1060)).verdict == "regression"


def test_something_from_nothing_has_no_ratio() -> None:
    found = compare("macs", exact(0.0), exact(5.0))
    assert (found.change, found.verdict) == (None, "regression")
    assert compare("macs", exact(0.0), exact(0.0)).verdict == "pass"


@pytest.mark.parametrize(("before", "now"), [(NAN, 1.0), (1.0, NAN), (1.0, INFINITY), (1.0, -INFINITY)])
@pytest.mark.parametrize("metric", ["size", "score", "operators"])
def test_what_is_not_finite_decides_nothing(metric: str, before: float, now: float) -> None:
    found = compare(metric, exact(before), exact(now))
    assert found.verdict == "inconclusive" and "not a finite number" in found.reason


def test_operators_that_differ_are_named_the_largest_change_first() -> None:
    assert different_operators({"Conv": 3, "Relu": 1}, {"Conv": 3, "Relu": 1}) == ""
    before, now = {"Conv": 3, "Relu": 1, "Add": 2}, {"Conv": 4, "Relu": 6, "Mul": 1}
    assert different_operators(before, now) == "+5 Relu, -2 Add, +1 Conv, +1 Mul"
    assert different_operators({}, dict.fromkeys("abcdef", 1)).endswith("and 2 more")


def test_records_give_what_they_hold() -> None:
    assert facts_of_records(Figures(), {}).signals == {}
    facts = facts_of_records(
        Figures(size_kib=10.0, macs=5), {"QLinearConv": 4, "QuantizeLinear": 2, "DequantizeLinear": 1}
    )
    assert {metric: number.value for metric, number in facts.signals.items()} == {
        **{"size": 10.0, "macs": 5, "conversions": 3, "operators": 7},
    }


def test_instructions_that_a_run_counted_are_compared_with_their_place() -> None:
    counted = Counted(place="emulate:cortex-a72@1.31.1", by_class={"total": 7_950_000, "loads": 1})
    number = facts_of_records(Figures(instructions=counted), {}).signals["instructions"]
    assert (number.value, number.word, number.place) == (7_950_000, "emulated", counted.place)
    assert facts_of_records(Figures(instructions=Counted(place="x", by_class={})), {}).signals == {}
    assert compare("instructions", number, number.model_copy(update={"value": 8_030_000})).verdict == "regression"


def test_a_file_gives_what_follows_from_it(tmp_path: Path) -> None:
    """x (1, 32) @ w (32, 16), then Exp, which fuses with nothing: 512 MACs, (32 + 16 + 16) floats alive at the peak."""
    weight = numpy_helper.from_array(np.ones((32, 16), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["t"]), helper.make_node("Exp", ["t"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16])],
        [weight],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    facts = facts_of_file(path, "raspberry-pi-4")
    assert dict(facts.operators) == {"MatMul": 1, "Exp": 1}
    assert facts.signals["macs"].value == 32 * 16
    assert facts.signals["size"].value == pytest.approx(path.stat().st_size / 1024, abs=0.05)
    assert facts.signals["arena"].value == pytest.approx(4 * (32 + 16 + 16) / 1024)
    assert (facts.signals["operators"].value, facts.signals["conversions"].value) == (2, 0)
    assert {facts.signals[one].word for one in ("latency", "memory", "arena")} == {"estimated"}
    assert "score" not in facts.signals
