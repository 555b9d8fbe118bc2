"""Benchmarks: what is counted, weighed and said, never how fast it was."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from edgekd.benchmark_program import open_onnxruntime
from edgekd.errors import BadInput, EdgekdError, UsageError
from edgekd.places import process, timing
from edgekd.places.table import open_place
from edgekd.places.timing import bench, compare, log_ratio, log_ratio_of_p10

QUICK: dict[str, Any] = {"min_runs": 10, "min_seconds": 0.0}
Chain = Callable[..., Path]


def test_bench_keeps_raw_samples_and_their_percentiles(matmul_chain: Chain) -> None:
    found = bench(matmul_chain("model", count=2), min_runs=60, min_seconds=0.0)
    assert len(found.samples_ms) == 60
    assert found.latency.p95_ms.value == pytest.approx(np.percentile(found.samples_ms, 95))
    assert found.latency.p50_ms.word == "measured" and found.latency.p50_ms.place == "host"
    assert found.session == {"intra_op_num_threads": 1}
    assert found.load_ms > 0 and found.first_ms > 0 and found.cpu_ms.value > 0
    assert found.environment["runs"] == 60 and len(found.environment["conditions"]) >= 2


def test_memory_grows_over_its_moments_and_with_the_weights(matmul_chain: Chain) -> None:
    light = bench(matmul_chain("light", count=1, width=2048, rows=2), **QUICK).memory
    heavy = bench(matmul_chain("heavy", count=5, width=2048, rows=2), **QUICK).memory  # 4 x 16 MiB more
    for memory in (light, heavy):
        assert 0 < memory.import_kib <= memory.load_kib <= memory.first_kib <= memory.steady_kib
    assert heavy.load_kib - light.load_kib >= 48 * 1024
    assert abs(heavy.import_kib - light.import_kib) < 8 * 1024  # a fresh process each: nothing is carried over


def test_too_few_runs_within_the_limit_are_said(matmul_chain: Chain) -> None:
    found = bench(matmul_chain("model", count=1), max_seconds=1e-9)
    assert len(found.samples_ms) == 1
    assert any("only 1 of 50 runs" in mark for mark in found.disturbed)


def test_what_is_given_is_what_is_fed(matmul_chain: Chain, tmp_path: Path) -> None:
    model = matmul_chain("model", count=1, rows=4, width=8)
    np.save(tmp_path / "input.npy", np.ones((1, 4, 8)))  # float64, which the model's own type replaces
    assert bench(model, inputs=tmp_path / "input.npy", **QUICK).first_ms > 0
    np.save(tmp_path / "input.npy", np.ones((1, 4, 9)))
    with pytest.raises(BadInput, match="Got: 9 Expected: 8"):
        bench(model, inputs=tmp_path / "input.npy", **QUICK)
    with pytest.raises(BadInput, match="Got: 9 Expected: 8"):
        compare(model, model, inputs=tmp_path / "input.npy", processes=2, min_seconds=0.1)


def test_session_options_reach_the_runtime(matmul_chain: Chain) -> None:
    found = bench(matmul_chain("model", count=1), session={"session.disable_prepacking": "1"}, **QUICK)
    assert found.session["session.disable_prepacking"] == "1"


@pytest.mark.parametrize(
    ("option", "attribute"), [("arena", "enable_cpu_mem_arena"), ("memory_pattern", "enable_mem_pattern")]
)
def test_options_by_name_are_those_of_onnxruntime(
    matmul_chain: Chain, monkeypatch, option: str, attribute: str
) -> None:
    opened: list[onnxruntime.SessionOptions] = []
    real = onnxruntime.InferenceSession

    def seen(path: str, settings: onnxruntime.SessionOptions, **others: Any) -> Any:
        opened.append(settings)
        return real(path, settings, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", seen)
    model = str(matmul_chain("model", count=1))
    session = open_onnxruntime(model, 1, {option: False, "prepacking": False})
    open_onnxruntime(model, 1, {})
    assert [getattr(one, attribute) for one in opened] == [False, True]
    assert opened[0].get_session_config_entry("session.disable_prepacking") == "1"
    assert session.options == {"intra_op_num_threads": 1, option: False, "prepacking": False}


@pytest.mark.parametrize(
    ("runtime", "name"), [("onnxruntime", "intra_op_num_threads"), ("openvino", "INFERENCE_NUM_THREADS")]
)
def test_a_sessions_own_threads_go_before_those_of_all(matmul_chain: Chain, runtime: str, name: str) -> None:
    pytest.importorskip(runtime)
    assert bench(matmul_chain("model", count=1), runtime=runtime, session={"threads": 2}, **QUICK).session[name] == 2


@pytest.mark.parametrize(("session", "statistic"), [({}, "cpu"), ({"threads": 2}, "wall")])
def test_threads_of_a_session_are_compared_by_wall_time(matmul_chain: Chain, monkeypatch, session, statistic) -> None:
    for name, said in (("log_ratio", math.log(2)), ("log_ratio_of_p10", math.log(3))):
        monkeypatch.setattr(timing, name, lambda *_, said=said: said)
    model = matmul_chain("model", count=1)
    found = compare(model, model, session_b=session, processes=2, min_seconds=0.02)
    assert found.value == pytest.approx({"cpu": 2, "wall": 3}[statistic])


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_corrupt_model_is_one_sentence(tmp_path: Path, runtime: str) -> None:
    pytest.importorskip(runtime)
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"\x08\x07not a model")
    with pytest.raises(BadInput) as refused:
        bench(bad, runtime=runtime)
    message = str(refused.value)
    assert str(bad) in message and runtime in message and "loading the model" in message
    assert "\n" not in message and "Traceback" not in message


def test_openvino_says_the_precision_it_ran_in(matmul_chain: Chain) -> None:
    pytest.importorskip("openvino")
    found = bench(matmul_chain("model", count=1), runtime="openvino", **QUICK)
    assert found.session == {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
    }


DYING = """
import json, os, signal, sys
with open(sys.argv[2], "w") as file:
    json.dump({"stage": "first", "memory": {"import": 40960.0, "load": 312320.0}, "models": []}, file)
os.kill(os.getpid(), getattr(signal, SIGNAL))
"""


@pytest.mark.parametrize(
    ("signal_name", "cause"), [("SIGKILL", "memory ran out"), ("SIGILL", "instructions that this CPU lacks")]
)
def test_a_killed_benchmark_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signal_name: str, cause: str
) -> None:
    program = tmp_path / "dying.py"
    program.write_text(DYING.replace("SIGNAL", repr(signal_name)))
    monkeypatch.setattr(process, "PROGRAM", program)
    with pytest.raises(EdgekdError) as died:
        bench(tmp_path / "model.onnx")
    message = str(died.value)
    assert signal_name in message and cause in message and "the first run" in message and "305 MiB" in message
    assert "\n" not in message


def test_a_program_that_ends_early_with_success_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "idle.py"
    program.write_text("")
    monkeypatch.setattr(process, "PROGRAM", program)
    with pytest.raises(EdgekdError, match="exit code 0"):
        bench(tmp_path / "model.onnx")


@pytest.mark.slow
def test_eight_times_the_work_is_clearly_dearer(matmul_chain: Chain) -> None:
    small = matmul_chain("small", count=1, width=512)
    large = matmul_chain("large", count=8, width=512)
    ratio = compare(small, large, processes=2, min_seconds=0.2)
    assert ratio.value > 2
    assert ratio.unit == "x" and ratio.word == "measured" and ratio.n >= 20
    assert compare(large, small, processes=2, min_seconds=0.2).value < 0.5


def test_ratio_of_pairs_cancels_the_order_within_a_pair() -> None:
    # Whoever runs second takes 1.2 times as long; B is really 1.5 times A. Rounds run AB, BA, AB, BA.
    baseline = {"cpu_ms": [1.0, 1.2, 1.0, 1.2]}
    candidate = {"cpu_ms": [1.5 * 1.2, 1.5, 1.5 * 1.2, 1.5]}
    assert np.exp(log_ratio(baseline, candidate)) == pytest.approx(1.5)
    assert np.exp(log_ratio({"cpu_ms": [2.0]}, {"cpu_ms": [3.0]})) == pytest.approx(1.5)  # one round is all there is


def test_runs_without_cpu_time_do_not_count() -> None:
    baseline = {"cpu_ms": [1.0, 1.0, 0.0, 1.0, 1.0, 1.0]}
    candidate = {"cpu_ms": [2.0, 2.0, 9.0, 9.0, 2.0, 2.0]}
    assert np.exp(log_ratio(baseline, candidate)) == pytest.approx(2)
    with pytest.raises(EdgekdError, match="too coarse"):
        log_ratio({"cpu_ms": [0.0, 0.0]}, {"cpu_ms": [1.0, 1.0]})


def test_ratio_of_p10_by_hand() -> None:
    baseline = {"wall_ms": list(range(1, 12))}  # p10 of 1..11 is 2
    candidate = {"wall_ms": [3.0 * one for one in range(1, 12)]}
    assert np.exp(log_ratio_of_p10(baseline, candidate)) == pytest.approx(3)


def test_an_odd_number_of_processes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="even"):
        compare(tmp_path / "a.onnx", tmp_path / "b.onnx", processes=3)


@pytest.mark.parametrize("name", ["hots", "host:", "telnet://board", "", "ssh:board", "/dev/null"])
def test_an_unknown_place_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(UsageError, match=r"no place .*ssh://user@host.*adb://serial"):
        open_place(name)


@pytest.mark.slow
def test_a_comparison_ends_once_the_candidate_is_surely_slower(
    matmul_chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, programs = timing.run_program, []
    monkeypatch.setattr(
        timing, "run_program", lambda place, spec, send: programs.append(spec) or run(place, spec, send)
    )
    light, heavy = matmul_chain("light", count=1), matmul_chain("heavy", count=12)
    assert compare(light, heavy, min_seconds=0.4, hopeless=1.1).value > 1.1
    assert len(programs) == 4
    programs.clear()
    compare(heavy, light, min_seconds=0.4, hopeless=1.1)
    assert len(programs) == 8
