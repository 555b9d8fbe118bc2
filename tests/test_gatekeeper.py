import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from edgekd.errors import BadInput, UsageError
from edgekd.gate_result import Baseline, Comparison
from edgekd.gatekeeper import gate, read_report
from edgekd.results import Report

runs = runpy.run_path(str(Path(__file__).parent / "regression" / "sample_runs.py"))
sample = runpy.run_path(str(Path(__file__).parent / "rendering" / "sample_report.py"))


def write_run(folder: Path, report: Report) -> Path:
    (folder / "report").mkdir(parents=True)
    (folder / "report" / "results.json").write_text(report.model_dump_json(by_alias=True))
    return folder


def sample_with(p95: dict[str, Any] | None = None, **changes: Any) -> Report:
    report: Report = sample["sample_report"](**changes)
    shipped = report.models["shipped"]
    assert shipped is not None and shipped.latency_p95_ms is not None
    latency = shipped.latency_p95_ms.model_copy(update=p95 or {})
    models = report.models | {"shipped": shipped.model_copy(update={"latency_p95_ms": latency})}
    return report.model_copy(update={"models": models})


def test_stored_budgets_are_judged_anew_from_the_figures(tmp_path: Path) -> None:
    on_target = {"word": "measured", "place": "ssh://pi@pi4"}
    fits = gate(write_run(tmp_path / "fits", sample_with(on_target)))
    assert (fits.verdict, fits.exit_code) == ("pass", 0)
    slow = gate(write_run(tmp_path / "slow", sample_with(on_target | {"value": 31.0})))
    assert (slow.verdict, slow.exit_code) == ("missed", 1)
    unsure = gate(write_run(tmp_path / "unsure", sample_with()))
    assert (unsure.verdict, unsure.exit_code) == ("inconclusive", 5)
    assert [(o.metric, o.verdict) for o in unsure.outcomes] == [
        ("latency", "inconclusive"),
        ("drop", "pass"),
        ("size", "missed"),
    ]


def test_a_given_budget_wins_over_the_stored_one_for_its_metric(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", sample_with())
    strict = gate(run, budget=["drop=0.5%"], allow_estimate=True)
    assert strict.verdict == "missed"  # the drop is 0.51 points
    assert [(o.metric, o.limit) for o in strict.outcomes] == [("latency", 30.0), ("drop", 0.005), ("size", 256.0)]
    assert gate(run, budget=["size=256KiB"], allow_estimate=True).exit_code == 1
    assert gate(run, allow_estimate=True).exit_code == 0


def test_estimates_count_where_the_run_was_told_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", sample_with(recipe={"allow_estimate": True}))
    assert gate(run).verdict == "pass"
    assert gate(run, allow_estimate=False).verdict == "inconclusive"


def test_load_time_of_the_host_decides_only_for_the_host(tmp_path: Path) -> None:
    load = ["load=42ms"]
    elsewhere = gate(write_run(tmp_path / "pi", sample_with(budgets=())), budget=load)
    assert elsewhere.verdict == "inconclusive"
    here = gate(write_run(tmp_path / "host", sample_with(budgets=(), target="host")), budget=load)
    assert here.verdict == "pass"
    assert "measured on host" in elsewhere.outcomes[0].reason
    assert here.outcomes[0].actual is not None and here.outcomes[0].actual.value == 41.7


def test_junit_counts_what_failed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", sample_with({"word": "measured", "place": "ssh://pi@pi4", "value": 31.0}))
    file = tmp_path / "new" / "gate.xml"
    result = gate(run, junit=file)
    assert result.exit_code == 1
    [suite] = JUnitXml.fromfile(str(file))
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (3, 1, 0, 1)
    assert list(file.parent.iterdir()) == [file]


def test_a_results_file_may_be_named_itself(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", sample_with())
    assert gate(run / "report" / "results.json").outcomes == gate(run).outcomes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "'schema'"),
        ({"surprise": 1}, "'surprise'"),
        ({"seed": "0"}, "'seed'"),
        ({"models": {"shipped": {"size_kib": "small"}}}, "'models.shipped.size_kib'"),
        ({"models": {"shipped": None}}, "'models.shipped' is null"),
        ({"budgets": [{"metric": "fun", "limit": 1.0, "unit": "ms", "verdict": "pass"}]}, "'budgets'"),
    ],
)
def test_results_that_are_not_results_are_bad_input(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    run = write_run(tmp_path / "run", sample_with())
    file = run / "report" / "results.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(BadInput) as refused:
        gate(run)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "edgekd report" not in str(refused.value)  # which reads the same file


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]", b"null"])
def test_broken_json_is_bad_input(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "results.json"
    file.write_bytes(content)
    with pytest.raises(BadInput, match=r"results\.json"):
        read_report(file)


def test_a_run_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        gate(tmp_path / "nowhere")
    with pytest.raises(BadInput, match=r"holds no report/results\.json"):
        gate(tmp_path)


def test_junit_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", sample_with())
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        gate(run, junit=tmp_path / "file" / "gate.xml")


def test_gate_and_rendering_need_no_torch() -> None:
    heavy = "{'torch', 'PIL', 'sklearn', 'timm'}"
    code = f"import sys, edgekd.gatekeeper, edgekd.rendering.html; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


def test_a_budget_that_warns_never_fails_and_may_stand_beside_one_that_does(tmp_path: Path) -> None:
    on_target = {"word": "measured", "place": "ssh://pi@pi4", "value": 25.0}
    run = write_run(tmp_path / "run", sample_with(on_target))
    warned = gate(run, warn=["latency=20ms", "load=1ms"])
    assert [(o.metric, o.severity, o.verdict) for o in warned.outcomes] == [
        ("latency", "error", "pass"),
        ("drop", "error", "pass"),
        ("size", "warn", "missed"),
        ("latency", "warn", "missed"),
        ("load", "warn", "inconclusive"),
    ]
    assert (warned.verdict, warned.exit_code, warned.reason) == ("pass", 0, "5 budgets, of which 3 only warn")
    failed = gate(run, budget=["latency=20ms"])
    assert (failed.verdict, failed.exit_code, failed.reason) == ("missed", 1, "over the budget: latency")


def test_what_was_given_wins_over_the_project_and_that_over_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = write_run(tmp_path / "run", sample_with())
    (tmp_path / "edgekd.yaml").write_text("budget: [drop=3%, latency=7ms, latency=8ms@pi4]\nwarn: size=9MiB\n")
    limits = {(o.metric, o.severity): o.limit for o in gate(run, budget=["latency=9ms", "load=1s@pi5"]).outcomes}
    assert limits == {("latency", "error"): 9.0, ("drop", "error"): 0.03, ("size", "warn"): 9 * 1024}
    assert {o.limit for o in gate(run).outcomes if o.metric == "latency"} == {8.0}


@pytest.mark.parametrize(
    ("comparisons", "verdict", "code", "reason"),
    [
        ([("size", "pass", "error")], "pass", 0, "no budget was set; nothing worse than the baseline in 1 figure"),
        ([("size", "improvement", "error")], "pass", 0, "nothing worse"),
        ([("size", "regression", "error")], "regression", 1, "worse than the baseline: size"),
        ([("size", "regression", "warn"), ("macs", "pass", "error")], "pass", 0, "nothing worse"),
        ([("time", "inconclusive", "error"), ("size", "pass", "error")], "inconclusive", 5, "not decided: time"),
        (
            [("time", "inconclusive", "error"), ("size", "regression", "error")],
            "regression",
            1,
            "worse than the baseline: size; not decided: time",
        ),
        ([("size", "pass", "warn")], "inconclusive", 5, "nothing could be compared with the baseline"),
        ([], "inconclusive", 5, "nothing could be compared with the baseline"),
    ],
)
def test_the_worst_comparison_decides(
    comparisons: list[tuple[str, Any, Any]],
    verdict: str,
    code: int,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = tuple(
        Comparison(metric=m, baseline=None, now=None, change=None, smallest_effect=0.01, verdict=v, severity=s)
        for m, v, s in comparisons
    )
    monkeypatch.setattr(
        sys.modules["edgekd.gatekeeper"], "compare_builds", lambda *_: Baseline(name="old", comparisons=found)
    )
    run = write_run(tmp_path / "run", sample_with(budgets=()))
    result = gate(run, baseline=run)
    assert (result.verdict, result.exit_code) == (verdict, code)
    assert reason in result.reason
    missed = gate(run, baseline=run, budget=["size=1KiB"])
    assert (missed.verdict, missed.exit_code) == ("missed", 1)


def test_an_onnx_file_is_judged_by_what_follows_from_it(tmp_path: Path) -> None:
    model = runs["write_net"](tmp_path / "m.onnx")
    limits = ["size=1MiB", "latency=1s", "drop=1%"]
    result = gate(model, budget=limits, target="pi4", allow_estimate=True)
    assert result.target == "raspberry-pi-4"
    assert [(o.metric, o.verdict) for o in result.outcomes] == [
        ("size", "pass"),
        ("latency", "pass"),
        ("drop", "inconclusive"),
    ]
    latency = result.outcomes[1].actual
    assert latency is not None and (latency.word, latency.place) == ("estimated", "raspberry-pi-4")
    assert gate(model, budget=limits[:2], target="pi4").exit_code == 5
    assert gate(model, budget=["size=1KiB"], target="pi4").exit_code == 1
    assert gate(model).target == "host"


def test_a_profile_of_the_users_own_is_given_as_a_file(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[1] / "device_profiles" / "raspberry-pi-4.yaml"
    board = tmp_path / "board.yaml"
    board.write_text(shipped.read_text().replace("name: raspberry-pi-4\n", "name: my-board\n", 1))
    old, new = runs["write_net"](tmp_path / "old.onnx"), runs["write_net"](tmp_path / "new.onnx", extra=4)
    found = gate(new, baseline=old, target=str(board), timing=False, budget=["latency=1s"], allow_estimate=True)
    assert (found.target, found.outcomes[0].verdict) == ("my-board", "pass")
    assert found.baseline is not None and found.verdict == "regression"


def test_an_artifact_is_judged_by_its_manifest(tmp_path: Path) -> None:
    run = runs["write_run"](tmp_path / "run", extra=0)
    result = gate(run / "artifact", budget=["size=1MiB", "latency=30ms"], allow_estimate=True)
    assert [(o.metric, o.verdict) for o in result.outcomes] == [("size", "pass"), ("latency", "pass")]
    assert result.target == "raspberry-pi-4"
    with pytest.raises(UsageError, match="was made for raspberry-pi-4, not for raspberry-pi-5"):
        gate(run / "artifact", target="pi5")
