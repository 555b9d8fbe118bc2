"""The program that runs alone in a fresh process, here or copied to a board."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.benchmark_program import KEPT_SAMPLES, InputSpec, boot_id, kept_ms, made_up_input, measure, warm_up
from edgekd.places.process import PROGRAM


def spec_of(*paths: Path, **changes: Any) -> dict[str, Any]:
    models = [{"path": str(path), "runtime": "onnxruntime", "session": {}} for path in paths]
    base = {"threads": 1, "seed": 0, "warmup": 10, "min_runs": 6, "min_seconds": 0.0, "max_seconds": 20.0}
    return {"models": models, **base, **changes}


def test_runs_alone_where_edgekd_cannot_be_imported(tmp_path: Path, matmul_chain: Callable[..., Path]) -> None:
    board = tmp_path / "board"
    board.mkdir()
    shutil.copy(PROGRAM, board / "program.py")
    shutil.copy(matmul_chain("model", count=1), board / "model.onnx")
    (board / "spec.json").write_text(json.dumps(spec_of(Path("model.onnx"))))
    blocked = (
        "import runpy, sys; sys.modules['edgekd'] = None; sys.argv = ['p', 'spec.json', 'result.json'];"
        "runpy.run_path('program.py', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-I", "-c", blocked], cwd=board, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((board / "result.json").read_text())
    assert result["stage"] == "done"
    assert result["runs"] == len(result["models"][0]["wall_ms"]) == 6
    assert list(result["memory"]) == ["import", "load", "first", "steady"]
    assert not (board / "result.json.part").exists()


def test_what_a_runtime_refuses_is_in_the_result(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    (tmp_path / "spec.json").write_text(json.dumps(spec_of(tmp_path / "bad.onnx")))
    command = [sys.executable, "-P", str(PROGRAM), str(tmp_path / "spec.json"), str(tmp_path / "result.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    result = json.loads((tmp_path / "result.json").read_text())
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert result["stage"] == "load"
    assert "Protobuf parsing failed" in result["error"]


def test_openvino_is_imported_without_its_telemetry() -> None:
    pytest.importorskip("openvino")
    code = (
        f"import runpy, sys; sys.path.insert(0, {str(PROGRAM.parents[1])!r});"
        "from edgekd.benchmark_program import import_runtime;"
        "openvino = import_runtime('openvino');"
        "print(openvino.__name__, [m for m, v in sys.modules.items() if m.startswith('openvino_telemetry') and v])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "openvino []"


def test_onnxruntime_leaves_nothing_behind_to_report(tmp_path: Path, matmul_chain: Callable[..., Path]) -> None:
    """Its telemetry, where it is on, keeps a device id in HOME and a session in TMPDIR."""
    model, home = matmul_chain("model", count=1), tmp_path / "home"
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "ORT_DISABLE_TELEMETRY")}
    code = (
        f"import sys; sys.path.insert(0, {str(PROGRAM.parents[1])!r});"
        f"from edgekd.onnx_graph import onnxruntime; onnxruntime.InferenceSession({str(model)!r})"
    )
    places = {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home)}
    subprocess.run([sys.executable, "-c", code], env={**environment, **places}, check=True)
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_a_resumable_benchmark_keeps_samples_and_ends_with_its_folder(
    tmp_path: Path, matmul_chain: Callable[..., Path]
) -> None:
    spec, result = tmp_path / "spec.json", tmp_path / "run" / "result.json"
    result.parent.mkdir()
    limits = {"min_runs": 10**9, "max_seconds": 120.0, "resumable": True}
    spec.write_text(json.dumps(spec_of(matmul_chain("model", count=1), **limits)))
    process = subprocess.Popen([sys.executable, "-P", PROGRAM, spec, result], stderr=subprocess.PIPE)
    kept: dict[str, Any] = {}
    while "runs" not in kept:
        assert process.poll() is None
        kept = json.loads(result.read_text()) if result.exists() else {}
        time.sleep(0.05)
    assert kept["stage"] == "steady" and kept["seconds"] > 1
    assert kept["runs"] >= len(kept["models"][0]["wall_ms"]) > 0
    assert kept["boot_id"] == boot_id()
    shutil.rmtree(result.parent)
    assert process.wait(timeout=60) != 0


def test_models_take_turns_and_change_order_every_round() -> None:
    calls: list[str] = []
    runs: list[Callable[[], object]] = [lambda: calls.append("A"), lambda: calls.append("B")]
    wall, cpu, meanwhile = measure(runs, {"min_runs": 4, "min_seconds": 0.0, "max_seconds": 20.0})
    assert "".join(calls) == "ABBAABBA"
    assert [len(one) for one in (*wall, *cpu)] == [4, 4, 4, 4]
    assert meanwhile["runs"] == 4
    assert len(meanwhile["conditions"]) == 2


def test_timing_ends_at_the_limit_even_with_too_few_runs() -> None:
    wall, _, _ = measure([lambda: None], {"min_runs": 50, "min_seconds": 2.0, "max_seconds": 1e-9})
    assert len(wall[0]) == 1


def test_warm_up_ends_when_steady_and_at_the_latest_after_so_many() -> None:
    spin = {"runs": 0}

    def ever_slower() -> None:
        spin["runs"] += 1
        sum(range(20_000 * spin["runs"]))

    assert warm_up(ever_slower, at_most=12, seconds=20.0) == 12
    assert warm_up(lambda: None, at_most=0, seconds=20.0) == 0


def test_thinned_samples_keep_both_orders_of_a_pair() -> None:
    import array

    rounds = array.array("q", range(4 * KEPT_SAMPLES))
    kept = [round(ms * 1e6) for ms in kept_ms(rounds)]
    assert len(kept) == KEPT_SAMPLES * 4 // 5
    assert {number % 2 for number in kept[:2]} == {0, 1}
    assert kept_ms(array.array("q", [1_500_000, 2_000_000])) == [1.5, 2.0]


def test_made_up_inputs_follow_the_specs() -> None:
    rng = np.random.default_rng(0)
    image = made_up_input(InputSpec("x", "float32", (None, 3, 8, 8)), rng)
    assert image.shape == (1, 3, 8, 8) and image.dtype == np.float32 and abs(image.mean()) < 0.3
    assert made_up_input(InputSpec("x", "float16", (1, 4)), rng).dtype == np.float16
    assert made_up_input(InputSpec("input_ids", "int64", (1, 4)), rng).tolist() == [[0, 0, 0, 0]]
    assert made_up_input(InputSpec("attention_mask", "int64", (1, 2)), rng).tolist() == [[1, 1]]
    assert made_up_input(InputSpec("keep", "bool", (2,)), rng).tolist() == [True, True]


def test_a_free_dimension_besides_the_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="free dimension"):
        made_up_input(InputSpec("x", "float32", (None, 3, None, 8)), np.random.default_rng(0))
