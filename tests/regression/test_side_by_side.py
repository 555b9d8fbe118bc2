"""Two builds side by side: which processes are run, until when, and what is made of them."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.errors import BadInput, UsageError
from edgekd.regression import side_by_side as module
from edgekd.regression.side_by_side import SideBySide, side_by_side

Processes = list[dict[str, Any]]
Run = Callable[..., tuple[SideBySide, Processes]]

SLOW, SAME = [0.048, 0.050, 0.052, 0.050], [0.001, -0.001, 0.002, -0.002]


def write_products(path: Path, count: int) -> Path:
    """x (1, 64, 128) through `count` MatMuls."""
    weight = numpy_helper.from_array(np.eye(128, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", [f"t{i}", "w"], [f"t{i + 1}"]) for i in range(count)],
        "products",
        [helper.make_tensor_value_info("t0", TensorProto.FLOAT, [1, 64, 128])],
        [helper.make_tensor_value_info(f"t{count}", TensorProto.FLOAT, [1, 64, 128])],
        [weight],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Side by side with processes that find what they are told to, 2 s each, instead of running anything."""

    def pretend(logs: Iterator[float], **options: Any) -> tuple[SideBySide, Processes]:
        specs: Processes = []
        clock = [0.0]

        def run_program(place: Any, spec: dict[str, Any], send: Any) -> dict[str, Any]:
            specs.append(spec)
            clock[0] += 2.0
            ratio = math.exp(next(logs))
            baseline = {"wall_ms": [4.0, 4.0], "cpu_ms": [2.0, 2.0]}
            build = {"wall_ms": [4.0 * ratio**2] * 2, "cpu_ms": [2.0 * ratio] * 2}
            models = [{"base.onnx": baseline, "build.onnx": build}[Path(m["path"]).name] for m in spec["models"]]
            return {"models": models, "runs": 100}

        monkeypatch.setattr(module, "run_program", run_program)
        monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
        return side_by_side(Path("base.onnx"), Path("build.onnx"), **options), specs

    return pretend


def test_an_equal_build_passes_after_two_pairs(run: Run) -> None:
    found, specs = run(iter(SAME))
    assert (found.verdict, found.confirmed, found.processes, found.runs, found.seconds) == ("pass", False, 4, 400, 8.0)
    first = [Path(spec["models"][0]["path"]).name for spec in specs]
    assert first == ["base.onnx", "build.onnx", "base.onnx", "build.onnx"]
    assert found.ratio.value == pytest.approx(1.0)
    assert found.ratio.low is not None and found.ratio.high is not None
    assert 0.98 < found.ratio.low < 1 < found.ratio.high < 1.02
    assert (found.ratio.unit, found.ratio.word, found.ratio.place, found.ratio.n) == ("ratio", "measured", "host", 4)
    assert "no slowdown of 3 %" in found.reason


def test_a_regression_is_run_again_and_says_by_how_much(run: Run) -> None:
    found, _ = run(iter(SLOW * 2))
    assert (found.verdict, found.confirmed, found.processes) == ("regression", True, 8)
    assert found.ratio.value == pytest.approx(math.exp(0.05))
    assert found.wall_p10_ratio.value == found.wall_p50_ratio.value == pytest.approx(math.exp(0.1))
    assert "+5.1 %" in found.reason and "4 fresh ones found it again" in found.reason


def test_a_regression_that_fresh_processes_do_not_find_is_none(run: Run) -> None:
    found, _ = run(iter(SLOW + 10 * SAME))
    assert (found.verdict, found.confirmed) == ("pass", False)


def test_without_time_to_run_it_again_a_regression_is_inconclusive(run: Run) -> None:
    found, _ = run(iter(SLOW * 2), max_seconds=10.0)
    assert (found.verdict, found.confirmed, found.processes) == ("inconclusive", False, 4)
    assert "4 found it slower by more than 3 %" in found.reason and "within 8 s" in found.reason


def test_it_ends_before_a_pair_that_would_end_too_late(run: Run) -> None:
    found, _ = run(iter([0.0, 0.058] * 50), max_seconds=45.0)
    assert (found.verdict, found.processes, found.seconds) == ("inconclusive", 22, 44.0)
    assert "44 s did not tell" in found.reason
    found, _ = run(iter([0.0, 0.06]), max_seconds=1.0)  # one pair runs whatever it takes
    assert (found.verdict, found.processes, found.ratio.low, found.ratio.high) == ("inconclusive", 2, None, None)
    assert "too few for an interval" in found.reason


@pytest.mark.parametrize("options", [{"threads": 2}, {"session_b": {"threads": 2}}])
def test_of_several_threads_wall_time_decides_and_must_be_surer(run: Run, options: dict[str, Any]) -> None:
    found, _ = run(iter([x / 2 for x in SAME * 2]), **options)  # wall time is the square of CPU time here
    assert found.ratio == found.wall_p10_ratio
    assert (found.verdict, found.ratio.level, found.processes) == ("pass", 0.99, 6)  # four have no interval at 0.99


def test_options_inputs_and_seed_reach_the_program(run: Run) -> None:
    _, specs = run(iter(SAME), session_a={"arena": False}, inputs=Path("x.npy"), seed=7)
    assert specs[0]["models"][0]["session"] == {"arena": False} and specs[0]["models"][1]["session"] == {}
    assert (specs[0]["inputs"], specs[0]["seed"], specs[0]["threads"]) == (str(Path("x.npy").absolute()), 7, 1)


@pytest.mark.parametrize("effect", [0.0, 1.0, -0.03, math.nan])
def test_an_effect_that_is_none_is_refused(effect: float) -> None:
    with pytest.raises(UsageError, match="smallest effect must lie between 0 and 1"):
        side_by_side(Path("base.onnx"), Path("build.onnx"), smallest_effect=effect)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_no_time_at_all_is_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="must be above zero seconds"):
        side_by_side(Path("base.onnx"), Path("build.onnx"), max_seconds=seconds)


def test_a_build_that_does_not_load_is_one_sentence(tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"\x08\x07not a model")
    with pytest.raises(BadInput, match=r"bad\.onnx.*loading the model"):
        side_by_side(write_products(tmp_path / "base.onnx", 2), bad)


@pytest.mark.slow
def test_a_model_of_twice_the_work_is_a_regression_and_half_of_it_an_improvement(tmp_path: Path) -> None:
    one, two = (write_products(tmp_path / f"{count}.onnx", count) for count in (20, 40))
    worse = side_by_side(one, two)
    assert (worse.verdict, worse.confirmed) == ("regression", True)
    assert 1.6 < worse.ratio.value < 2.4 and worse.ratio.n == worse.processes >= 8
    assert side_by_side(two, one).verdict == "improvement"
