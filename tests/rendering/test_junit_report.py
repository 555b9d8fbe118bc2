import runpy
from pathlib import Path
from typing import Any

from junitparser import JUnitXml, TestSuite

from edgekd.rendering.junit import render_junit
from edgekd.results import Report

sample = runpy.run_path(str(Path(__file__).parent / "sample_report.py"))


def suite_of(report: Report) -> Any:
    [suite] = JUnitXml.fromstring(render_junit(report).encode())
    assert isinstance(suite, TestSuite)
    return suite


def test_each_budget_is_a_case_with_its_outcome() -> None:
    suite = suite_of(sample["sample_report"]())
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (
        3,
        0,
        1,
        1,
    )  # inconclusive; missed, but warns only
    assert [case.name for case in suite] == [
        "Latency, p95 at most 30 ms",
        "Drop of score at most 1 point",
        "File size at most 256 KiB",
    ]
    assert "19.4 ms [12.6, 26.2] estimated for raspberry-pi-4" in next(iter(suite)).result[0].message


def test_missed_budgets_are_failures() -> None:
    report: Report = sample["sample_report"]()
    missed = tuple(o.model_copy(update={"verdict": "missed", "severity": "error"}) for o in report.budgets)
    suite = suite_of(report.model_copy(update={"budgets": missed}))
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (3, 3, 0, 0)


def test_a_run_without_budgets_is_one_passing_case() -> None:
    suite = suite_of(sample["sample_report"](budgets=()))
    assert (suite.tests, suite.failures, suite.errors) == (1, 0, 0)


def test_hostile_names_stay_well_formed_xml() -> None:
    xml = render_junit(sample["hostile_report"]())
    suite = suite_of(sample["hostile_report"]())
    assert suite.tests == 3
    assert "\ufffd" in suite.name and len(suite.name) <= 80
    assert "<script" not in xml
