"""`edgekd gate` as typed: tables, one JSON object, exit codes, and one sentence for what is wrong."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., tuple[int, str, str]]
runs = runpy.run_path(str(Path(__file__).parents[1] / "regression" / "sample_runs.py"))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A run, and the results alone of one whose file was a fifth larger."""
    report = runs["sample_report"]()
    larger = report.models["shipped"].model_copy(update={"size_kib": 261 * 1.2})
    baseline = report.model_copy(update={"models": {**report.models, "shipped": larger}})
    runs["write_run"](tmp_path / "new", report)
    return tmp_path / "new", runs["write_run"](tmp_path / "old", baseline) / "report" / "results.json"


def test_budgets_then_comparisons_then_the_verdict(call: Call, pair: tuple[Path, Path]) -> None:
    new, old = pair
    code, out, _ = call("gate", new, "--baseline", old, "--allow-estimate", "--warn", "load=1ms")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("pass         Latency, p95 at most 30 ms: 19.4 ms")
    assert any(
        line.startswith("inconclusive Load time at most 1 ms") and line.endswith("(warns only)") for line in lines
    )
    size = next(line for line in lines if line.startswith("File size") and "improvement" in line)
    assert "313 KiB" in size and "261 KiB" in size and "-16.7 %" in size
    assert any(line.startswith("Time here, CPU left out: needs the model files of both") for line in lines)
    assert lines[-1] == (
        "pass: 4 budgets, of which 2 only warn; nothing worse than the baseline in 7 figures; on raspberry-pi-4"
    )


def test_a_regression_exits_1_and_is_named(call: Call, pair: tuple[Path, Path]) -> None:
    new, old = pair
    code, out, _ = call("gate", old, "--baseline", new, "--allow-estimate")
    assert code == 1
    assert out.splitlines()[-1] == "regression: worse than the baseline: size; on raspberry-pi-4"


def test_json_is_one_object_with_every_comparison(call: Call, pair: tuple[Path, Path]) -> None:
    new, old = pair
    code, out, _ = call("gate", new, "--baseline", old, "--json", "--no-timing")
    found: dict[str, Any] = json.loads(out)
    assert code == found["exit_code"] == 5  # a latency that is only estimated
    assert (found["schema"], found["verdict"], found["reason"]) == (1, "inconclusive", "not decided: latency")
    sizes = {c["metric"]: c for c in found["baseline"]["comparisons"]}["size"]
    assert sizes["verdict"] == "improvement" and sizes["change"]["value"] == pytest.approx(1 / 1.2 - 1)
    assert sizes["baseline"]["word"] == "measured"


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--budget", "latency=30"], 2, "no unit; write it like latency=30ms"),
        (["--budget", "latency=30MB"], 2, "unknown unit 'MB'"),
        (["--warn", "latancy=30ms"], 2, "did you mean 'latency'"),
        (["--budget", "size=1MiB@toaster"], 2, "There is no device 'toaster'"),
        (["--target", "pi5"], 2, "was made for raspberry-pi-4"),
        (["--baseline", "nowhere"], 3, "nowhere does not exist"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    call: Call, pair: tuple[Path, Path], options: list[str], code: int, said: str
) -> None:
    found, out, err = call("gate", pair[0], *options)
    assert (found, out) == (code, "")
    assert said in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"model": {"path": "other.pt", "sha256": "cd" * 32}}, 3, "made from another model file"),
        ({"classes": ["cat", "dog"]}, 3, "of another model: it has 2 classes"),
        ({"target": "raspberry-pi-5"}, 3, "a baseline for the same device"),
        ({"schema": 2}, 3, "'schema' input should be 1"),
        ({"edgekd": "9.0.0", "surprise": 1}, 3, "written by edgekd '9.0.0'"),
        ({"edgekd": "9.0.0"}, 0, "figures of edgekd '9.0.0' and '0.1.0'"),
        ({"environment": {"cpu": "Another"}}, 0, ""),
    ],
)
def test_baselines_of_another_model_device_machine_or_version(
    call: Call, pair: tuple[Path, Path], change: dict[str, Any], code: int, said: str
) -> None:
    new, old = pair
    old.write_text(json.dumps(json.loads(old.read_text()) | change))
    found, out, err = call("gate", new, "--baseline", old, "--allow-estimate")
    assert found == code
    assert said in (err if code else out)
    assert len(err.splitlines()) == (code != 0)


def test_a_truncated_baseline_is_bad_input(call: Call, pair: tuple[Path, Path]) -> None:
    new, old = pair
    old.write_bytes(old.read_bytes()[:5000])
    code, out, err = call("gate", new, "--baseline", old)
    assert (code, out) == (3, "") and "this is no JSON, or not the whole of it" in err
