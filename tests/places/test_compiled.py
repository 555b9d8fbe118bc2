"""The benchmark program in C, built for this machine, held against the one in Python."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.benchmark_program import KEPT_SAMPLES, boot_id, conditions
from edgekd.errors import BadInput
from edgekd.machine_facts import machine_facts
from edgekd.places import compiled
from edgekd.places.host import open_host
from edgekd.places.place import Place
from edgekd.places.process import run_program

Chain = Callable[..., Path]
LIMITS = {"warmup": 10, "min_runs": 6, "min_seconds": 0.0, "max_seconds": 20.0}


@pytest.fixture
def start(program: Path, tmp_path: Path) -> Callable[..., "subprocess.Popen[bytes]"]:
    """Start the program on a spec with the fake runtime, which is fed 7; models are lists of words."""
    (tmp_path / "fed").write_bytes(np.float32(7).tobytes())

    def begin(
        *models: Sequence[str], result: Path, before: Sequence[str] = (), **limits: Any
    ) -> "subprocess.Popen[bytes]":
        words = [f"{key}={value}" for key, value in {**LIMITS, "resumable": 0, **limits}.items()]
        for model in models:
            words += [
                f"model={model[0]}",
                f"inputs={tmp_path}/fed",
                "tensor=1:1",
                "threads=1",
                "session={}",
                *model[1:],
            ]
        (tmp_path / "spec").write_bytes(b"".join(word.encode() + b"\0" for word in words))
        return subprocess.Popen(
            [*before, program / "benchmark", tmp_path / "spec", result],
            env={"LD_LIBRARY_PATH": str(program / "fake"), "FAKE_LOG": str(tmp_path / "log")},
            stderr=subprocess.PIPE,
        )

    return begin


@pytest.fixture
def run(start, tmp_path: Path) -> Callable[..., tuple[int, dict[str, Any], list[str]]]:
    """Run it to its end; returns exit status, result, and what the runtime was asked."""

    def to_the_end(*models: Sequence[str], **limits: Any) -> tuple[int, dict[str, Any], list[str]]:
        process = start(*models, result=tmp_path / "result.json", **limits)
        code = process.wait(timeout=60)
        return code, json.loads((tmp_path / "result.json").read_text()), (tmp_path / "log").read_text().splitlines()

    return to_the_end


@pytest.fixture
def board(program: Path, monkeypatch: pytest.MonkeyPatch):
    """This machine as a place whose program is the one in C."""
    monkeypatch.setattr(compiled, "command", lambda folder: [f"{folder}/benchmark"])
    monkeypatch.setenv("LD_LIBRARY_PATH", str(program / "real"))
    with open_host() as place:
        yield place


def test_models_take_turns_and_change_order_every_round(run) -> None:
    code, result, asked = run(["A"], ["B"], warmup=0, min_runs=4)
    assert code == 0 and asked[:2] == ["load A threads=1", "load B threads=1"]
    ran = "".join(line.split()[1] for line in asked if line.startswith("run"))
    assert ran == "AB" + "ABBAABBA"  # the first run of each, then the rounds
    assert result["runs"] == 4 and [len(one["wall_ms"]) for one in result["models"]] == [4, 4]
    assert {line.split()[2] for line in asked if line.startswith("run")} == {"7"}


def test_session_options_reach_the_runtime_and_are_repeated(run) -> None:
    words = ["A", "threads=3", "arena=0", "memory_pattern=0", "entry=session.a=b=c", 'session={"x": [1, null]}']
    _, result, asked = run(words)
    assert asked[0] == "load A threads=3 session.a=b=c arena=0 pattern=0"
    assert result["models"][0]["session"] == {"x": [1, None]}


def test_warming_up_ends_when_steady_and_at_the_latest_after_so_many(run) -> None:
    _, result, asked = run(["slow"], warmup=50, min_runs=1)
    assert 10 <= result["models"][0]["warmup_runs"] < 50
    assert len([line for line in asked if line.startswith("run")]) == 2 + result["models"][0]["warmup_runs"]
    assert run(["slower"], warmup=13, min_runs=1)[1]["models"][0]["warmup_runs"] == 13


def test_timing_ends_at_the_limit_and_not_before_enough_seconds(run) -> None:
    _, result, _ = run(["slow"], warmup=0, min_runs=1000, max_seconds=0.1)
    assert 1 <= result["runs"] <= 5
    assert result["models"][0]["wall_ms"][0] >= 20 > result["models"][0]["cpu_ms"][0]  # asleep
    _, result, _ = run(["slow"], warmup=0, min_runs=1, min_seconds=1.1)
    assert 1.1 <= result["seconds"] < 20 and len(result["conditions"]) == 3  # before, after a second, at the end


def test_thinned_samples_keep_both_orders_of_a_pair(run) -> None:
    _, result, _ = run(["A"], warmup=0, min_runs=4 * KEPT_SAMPLES)
    assert result["runs"] == 4 * KEPT_SAMPLES
    assert len(result["models"][0]["wall_ms"]) == len(result["models"][0]["cpu_ms"]) == KEPT_SAMPLES * 4 // 5


def test_what_the_runtime_refuses_is_in_the_result(run) -> None:
    code, result, _ = run(["A"], ["refused"])
    assert code == 1 and result["stage"] == "load" and len(result["models"]) == 1
    assert result["error"] == 'it "says"\tno: ??\x01'


def test_a_result_that_cannot_be_written_is_said(start, tmp_path: Path) -> None:
    process = start(["A"], result=tmp_path / "gone" / "result.json")
    assert process.wait(timeout=60) == 1 and b"No such file or directory" in process.stderr.read()
    small = ["/bin/sh", "-c", 'ulimit -f 8; exec "$@"', "sh"]  # what is written before the samples fits
    process = start(["A"], result=tmp_path / "result.json", before=small, min_runs=KEPT_SAMPLES)
    assert process.wait(timeout=60) == 1 and b"File too large" in process.stderr.read()


def test_a_resumable_benchmark_keeps_samples_and_ends_with_its_folder(start, tmp_path: Path) -> None:
    result = tmp_path / "run" / "result.json"
    result.parent.mkdir()
    process = start(["slow"], result=result, min_runs=10**9, max_seconds=120.0, resumable=1)
    kept: dict[str, Any] = {}
    while "runs" not in kept:
        assert process.poll() is None
        kept = json.loads(result.read_text()) if result.exists() else {}
        time.sleep(0.05)
    assert kept["stage"] == "steady" and kept["seconds"] > 1 and kept["boot_id"] == boot_id()
    assert kept["runs"] == len(kept["models"][0]["wall_ms"]) > 0 and "steady" in kept["memory"]
    shutil.rmtree(result.parent)
    assert process.wait(timeout=60) == 1


def test_the_result_has_the_form_of_the_program_in_python(board: Place, program: Path, matmul_chain: Chain) -> None:
    model = {"path": str(matmul_chain("model", count=2)), "runtime": "onnxruntime"}
    models = [
        {**model, "session": {"arena": False, "threads": 2}},
        {**model, "session": {"session.qdqisint8allowed": 1}},
    ]
    spec = {**LIMITS, "models": models, "threads": 1, "seed": 0}
    ours, theirs = run_program(board, spec, compiled.in_c(program)), run_program(board, spec)
    assert set(ours) == set(theirs) and list(ours["memory"]) == list(theirs["memory"])
    assert [one["session"] for one in ours["models"]] == [one["session"] for one in theirs["models"]]
    for key in ("load_ms", "first_ms", "warmup_runs", "wall_ms", "cpu_ms"):
        assert [type(one[key]) for one in ours["models"]] == [type(one[key]) for one in theirs["models"]]
    assert ours["boot_id"] == theirs["boot_id"]
    assert [sorted(one) for one in ours["conditions"]] == [sorted(one) for one in theirs["conditions"]]
    assert ours["memory"]["import"] < theirs["memory"]["import"]  # which holds Python and numpy


def test_what_is_drawn_is_what_the_program_in_python_draws(tmp_path: Path, matmul_chain: Chain) -> None:
    spec = {"seed": 3, "threads": 1}
    [drawn] = compiled._fed(matmul_chain("model", count=1), spec)
    assert np.array_equal(drawn, np.random.default_rng(3).standard_normal((1, 32, 256), np.float32))
    np.save(tmp_path / "given.npy", np.ones((1, 32, 256)))
    [given] = compiled._fed(matmul_chain("model", count=1), {**spec, "inputs": tmp_path / "given.npy"})
    assert given.dtype == np.float32 and given.shape == (1, 32, 256)


def test_the_real_runtime_s_own_words_come_through(board: Place, program: Path, tmp_path: Path, matmul_chain) -> None:
    model = matmul_chain("model", count=1)
    np.save(tmp_path / "given.npy", np.ones((1, 3, 256)))
    spec = {
        **LIMITS,
        "models": [{"path": str(model), "runtime": "onnxruntime", "session": {}}],
        "threads": 1,
        "seed": 0,
    }
    with pytest.raises(BadInput, match=r"onnxruntime fails at the first run: .*invalid dimensions"):
        run_program(board, {**spec, "inputs": str(tmp_path / "given.npy")}, compiled.in_c(program))


def test_it_says_the_machine_s_state(board: Place, program: Path) -> None:
    found = compiled.conditions_of(board, program)
    assert sorted(found) == sorted(conditions()) and found["load"] >= 0


def test_a_machine_is_described_by_its_files_as_by_its_python(board: Place) -> None:
    ours, theirs = compiled.facts_of(board), machine_facts()
    same = ("cpu", "architecture", "cores", "logical_cpus", "usable_cores", "flags", "governor", "virtual", "kernel")
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}
    assert ours.keys() - {"disk_free_mib"} == theirs.keys() and ours["system"] == theirs["system"]
    assert abs(ours["memory_mib"] - theirs["memory_mib"]) <= 1 and ours["disk_free_mib"] > 0
    assert ours["python"] is None and set(ours["versions"].values()) == {None}
