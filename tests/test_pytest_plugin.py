"""The fixture `edgekd_gate`, in test suites of its own."""

import importlib.metadata
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ("pytester",)
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
sample = runpy.run_path(str(ROOT / "tests" / "rendering" / "sample_report.py"))
MEASURED = {"word": "measured", "place": "ssh://pi@pi4"}


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A suite of one test that judges `run/`, whose latency budget is 30 ms."""
    pytester.makepyfile("def test_model(edgekd_gate):\n    assert edgekd_gate('run').verdict == 'pass'\n")
    return pytester


def write_run(folder: Path, p95: dict[str, Any]) -> None:
    report = sample["sample_report"]()
    shipped = report.models["shipped"]
    latency = shipped.latency_p95_ms.model_copy(update=p95)
    models = report.models | {"shipped": shipped.model_copy(update={"latency_p95_ms": latency})}
    file = folder / "run" / "report" / "results.json"
    file.parent.mkdir(parents=True)
    file.write_text(report.model_copy(update={"models": models}).model_dump_json(by_alias=True))


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    """Run the suite with the plugin of this checkout, whether or not an installed one would be found."""
    return pytester.runpytest_subprocess("-p", "no:edgekd", "-p", "edgekd.pytest_plugin", "-p", "no:xdist", *options)


def test_a_run_within_its_budgets_passes_and_what_only_warns_is_a_warning(suite: pytest.Pytester) -> None:
    write_run(suite.path, MEASURED)
    result = run(suite)
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*edgekd: Missed: File size at most 256 KiB: 261 KiB measured*(warns only)"])


def test_a_missed_budget_fails_with_every_finding_and_no_traceback(suite: pytest.Pytester) -> None:
    write_run(suite.path, MEASURED | {"value": 31.0})
    result = run(suite)
    result.assert_outcomes(failed=1, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "Missed: run on raspberry-pi-4",
            "  Missed: Latency, p95 at most 30 ms: 31.0 ms * measured on ssh://pi@pi4; over the limit by 3.3 %*",
            "  Pass: Drop of score at most 1 point: *",
        ]
    )
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_an_undecided_budget_fails_or_is_skipped_as_told(suite: pytest.Pytester) -> None:
    write_run(suite.path, {})
    run(suite).assert_outcomes(failed=1, warnings=1)
    skipped = run(suite, "--edgekd-inconclusive=skip", "-rs")
    skipped.assert_outcomes(skipped=1, warnings=1)
    skipped.stdout.fnmatch_lines(["SKIPPED * Inconclusive: run on raspberry-pi-4; not decided: latency*"])


def test_a_missed_budget_is_never_skipped(suite: pytest.Pytester) -> None:
    write_run(suite.path, MEASURED | {"value": 31.0})
    run(suite, "--edgekd-inconclusive=skip").assert_outcomes(failed=1, warnings=1)


def test_budgets_and_other_keywords_are_those_of_the_gate(suite: pytest.Pytester) -> None:
    write_run(suite.path, {})
    suite.makepyfile(
        """
        def test_strict(edgekd_gate):
            edgekd_gate("run", budget=["size=1KiB"], allow_estimate=True)

        def test_loose(edgekd_gate):
            assert edgekd_gate("run", budget=["size=1MiB"], allow_estimate=True).exit_code == 0
        """
    )
    run(suite).assert_outcomes(failed=1, passed=1)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("edgekd_gate('nowhere')", "edgekd: nowhere does not exist; *"),
        ("edgekd_gate('run', budget=['latency=30'])", "edgekd: The budget 'latency=30' has no unit; *"),
    ],
)
def test_what_cannot_be_judged_fails_with_one_sentence(suite: pytest.Pytester, call: str, said: str) -> None:
    write_run(suite.path, MEASURED)
    suite.makepyfile(f"def test_model(edgekd_gate):\n    {call}\n")
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([said])
    result.stdout.no_fnmatch_line("*Error*")


def test_pytest_finds_the_plugin_and_its_start_imports_nothing_of_weight() -> None:
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    point = importlib.metadata.EntryPoint("edgekd", points["edgekd"], "pytest11")
    assert point.load().edgekd_gate is not None
    script = f"import pytest, sys; before = set(sys.modules); import {point.module}; print(*set(sys.modules) - before)"
    added = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert set(added) == {"edgekd", "edgekd.version", "edgekd.pytest_plugin"}
