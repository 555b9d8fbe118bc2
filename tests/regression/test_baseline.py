"""A build against its baseline: what is compared from files and records, when time and instructions count."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.errors import UsageError
from edgekd.figures import Number
from edgekd.gate_result import Baseline, Comparison
from edgekd.regression import baseline as module
from edgekd.regression.baseline import How, compare_builds
from edgekd.regression.build import open_build
from edgekd.regression.side_by_side import SideBySide

runs = runpy.run_path(str(Path(__file__).parent / "sample_runs.py"))
PI = "raspberry-pi-4"
Calls = list[dict[str, Any]]


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Side by side as if it had found 5 % more, and what it was asked."""
    calls: Calls = []

    def pretend(baseline: Path, build: Path, **options: Any) -> SideBySide:
        calls.append({"baseline": baseline, "build": build, **options})
        ratio = Number(value=1.05, low=1.04, high=1.06, level=0.95, unit="ratio", word="measured", place="host", n=8)
        others = {"wall_p10_ratio": ratio, "wall_p50_ratio": ratio, "processes": 8, "runs": 99, "seconds": 5.0}
        told = {"verdict": "regression", "confirmed": True, "reason": "costs +5.0 %"}
        return SideBySide(ratio=ratio, smallest_effect=options["smallest_effect"], **others, **told)

    monkeypatch.setattr(module, "side_by_side", pretend)
    return calls


def compare(baseline: Path, build: Path, **how: Any) -> Baseline:
    return compare_builds(open_build(baseline), open_build(build), How(**{"target": PI, **how}))


def by_metric(found: Baseline) -> dict[str, Comparison]:
    return {one.metric: one for one in found.comparisons}


def test_two_files_are_timed_and_their_graphs_compared(tmp_path: Path, timed: Calls) -> None:
    old, new = runs["write_net"](tmp_path / "old.onnx"), runs["write_net"](tmp_path / "new.onnx", extra=4)
    found = compare(old, new)
    assert [one.metric for one in found.comparisons] == [
        *("time", "size", "macs", "arena", "memory", "latency", "conversions", "operators")
    ]
    one = by_metric(found)
    assert one["time"].verdict == "regression" and one["time"].reason == "costs +5.0 %; taken on host, not on " + PI
    change = one["time"].change
    assert change is not None and (change.unit, change.level) == ("share", 0.95)
    assert (change.value, change.low, change.high) == pytest.approx((0.05, 0.04, 0.06))
    macs = one["macs"].baseline, one["macs"].now
    assert macs[0] is not None and macs[1] is not None
    assert macs[1].value - macs[0].value == 2 * 16 * 4 * 32 * 32
    assert (one["operators"].verdict, one["operators"].severity) == ("regression", "warn")
    assert one["operators"].reason == "+2 FusedConv" and one["conversions"].reason == ""
    assert one["latency"].severity == "warn"  # two estimates
    assert by_metric(compare(old, new, allow_estimate=True))["latency"].severity == "error"
    assert found.left_out == {} and found.sha256 is not None
    [call, _] = timed
    assert (call["baseline"], call["build"], call["smallest_effect"]) == (old, new, 0.03)


def test_the_same_file_needs_no_clock(tmp_path: Path, timed: Calls) -> None:
    old, new = runs["write_net"](tmp_path / "old.onnx"), runs["write_net"](tmp_path / "new.onnx")
    found = by_metric(compare(old, new))
    assert {one.verdict for one in found.values()} == {"pass"}
    assert (found["time"].reason, timed) == ("the same file with the same session options", [])


def test_records_alone_are_compared_without_time(tmp_path: Path, timed: Calls) -> None:
    old = runs["write_run"](tmp_path / "old") / "report" / "results.json"
    new = runs["write_run"](tmp_path / "new", extra=2)
    found = compare(old, new)
    assert [one.metric for one in found.comparisons] == [
        *("score", "size", "macs", "memory", "latency", "conversions", "operators")
    ]
    assert {one.verdict for one in found.comparisons} == {"pass"}
    assert "needs the model files of both" in found.left_out["time"] and timed == []
    assert "time" not in compare(old, new, timing=False).left_out


def test_runs_with_artifacts_keep_their_scores_and_sessions(tmp_path: Path, timed: Calls) -> None:
    report = runs["sample_report"]()
    worse = report.models["shipped"].model_copy(
        update={"score": Number(value=0.9, low=0.89, high=0.91, unit="score", word="measured", place="host", n=10000)}
    )
    lost = report.model_copy(update={"models": {**report.models, "shipped": worse}})
    old, new = (
        runs["write_run"](tmp_path / name, one, extra=at)
        for at, (name, one) in enumerate((("old", report), ("new", lost)))
    )
    found = compare(old, new)
    assert by_metric(found)["score"].verdict == "regression"  # 2.88 points
    assert "arena" in by_metric(found)  # from the files
    assert [call["session_a"] for call in timed] == [{"prepacking": False}]  # threads are one of each, for CPU time
    assert compare(old / "artifact", new).comparisons[0].verdict == "regression"


def test_session_options_that_might_write_files_are_not_taken_over(tmp_path: Path, timed: Calls) -> None:
    report = runs["sample_report"]()
    [chosen] = [one for one in report.candidates if one.chosen]
    hostile = chosen.model_copy(update={"session": {"session.optimized_model_path": "/etc/x", "arena": False}})
    old = runs["write_run"](tmp_path / "old", report.model_copy(update={"candidates": (hostile,)}), extra=0)
    found = compare(old, runs["write_run"](tmp_path / "new", extra=2))
    assert timed[0]["session_a"] == {"arena": False}
    assert len(found.notes) == 1 and "session.optimized_model_path" in found.notes[0]


def write_signed(path: Path) -> Path:
    """A model whose activations are int8, as Arm wants them: x86 has no fast kernels for it."""
    weights = [
        numpy_helper.from_array(np.eye(4, dtype=np.float32), "w"),
        numpy_helper.from_array(np.float32(0.1), "scale"),
        numpy_helper.from_array(np.int8(0), "zero"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    graph.doc_string = path.stem  # two files of one graph
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_kernels_that_this_machine_lacks_are_not_timed_on_it(
    tmp_path: Path, timed: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgekd.schemes.twin.is_x86", lambda machine: True)
    old, new = write_signed(tmp_path / "old.onnx"), write_signed(tmp_path / "new.onnx")
    assert "--emulate counts" in compare(old, new).left_out["time"] and timed == []
    compare(old, new, on="ssh://pi@pi")
    assert timed[0]["on"] == "ssh://pi@pi"


def test_openvino_is_neither_emulated_nor_compared_by_what_onnx_runtime_executes(tmp_path: Path, timed: Calls) -> None:
    report = runs["sample_report"]()
    [chosen] = [one for one in report.candidates if one.chosen]
    elsewhere = chosen.model_copy(update={"runtime": "openvino", "session": {}})
    old = runs["write_run"](tmp_path / "old", report.model_copy(update={"candidates": (elsewhere,)}), extra=0)
    new = runs["write_run"](tmp_path / "new", extra=2)
    found = compare(old, new)
    assert {one.metric for one in found.comparisons} == {"score", "size", "macs"}
    assert "openvino, this build in onnxruntime" in found.left_out["time"] and timed == []
    with pytest.raises(UsageError, match="Only ONNX Runtime is emulated"):
        compare(old, new, emulate=True)


def test_instructions_need_files_and_an_arm_processor(tmp_path: Path) -> None:
    model = runs["write_net"](tmp_path / "m.onnx")
    results = runs["write_run"](tmp_path / "run") / "report" / "results.json"
    with pytest.raises(UsageError, match="--emulate needs the model files of both"):
        compare(results, model, emulate=True, timing=False)
    with pytest.raises(UsageError, match="no Arm processor"):
        compare(model, model, target="intel-n100", emulate=True, timing=False)


@pytest.fixture
def emulated(emulated_targets: str) -> Callable[..., Baseline]:
    """What counting finds for the Raspberry Pi 4's core and runtime."""
    return lambda old, new: compare(old, new, emulate=True, timing=False)


@pytest.mark.slow
def test_one_per_cent_more_instructions_are_caught_every_time(
    tmp_path: Path, emulated: Callable[..., Baseline]
) -> None:
    """Two channels more through two 1x1 convolutions: 0.45 % more MACs and 1 % more instructions, and no clock."""
    old, new = runs["write_net"](tmp_path / "old.onnx"), runs["write_net"](tmp_path / "new.onnx", extra=2)
    changes = []
    for _ in range(3):
        found = by_metric(emulated(old, new))["instructions"]
        assert (found.verdict, found.severity) == ("regression", "error")
        assert found.now is not None and found.now.word == "emulated"
        assert found.now.place.startswith("emulate:cortex-a72@")
        changes.append(found.change.value if found.change else 0.0)
        back = by_metric(emulated(new, old))["instructions"]
        assert back.verdict == "improvement"
        same = by_metric(emulated(old, runs["write_net"](tmp_path / "same.onnx")))["instructions"]
        assert same.verdict == "pass" and same.change is not None and abs(same.change.value) < 1e-3
    assert all(0.005 < change < 0.015 for change in changes)
    assert max(changes) - min(changes) < 1e-3
