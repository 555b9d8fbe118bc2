import runpy
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml, TestSuite
from lxml import etree

from edgekd.gate_result import Baseline
from edgekd.rendering.junit import render_junit
from edgekd.results import Report

HERE = Path(__file__).parent
# Jenkins' schema (MIT), which pytest checks its own JUnit files against too.
SCHEMA = etree.XMLSchema(file=str(HERE / "junit-10.xsd"))
sample = runpy.run_path(str(HERE / "sample_report.py"))
gates = runpy.run_path(str(HERE / "sample_gate.py"))


def xml_of(report: Report, baseline: Baseline | None = None) -> bytes:
    xml = render_junit(
        report.budgets, baseline, target=report.target, subject=report.model.path, verdict=report.verdict
    ).encode()
    SCHEMA.assertValid(etree.fromstring(xml))
    return xml


def suite_of(report: Report, baseline: Baseline | None = None) -> Any:
    [suite] = JUnitXml.fromstring(xml_of(report, baseline))
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


def test_each_comparison_is_a_case_and_what_could_not_be_compared_is_skipped() -> None:
    suite = suite_of(sample["sample_report"](budgets=()), gates["baseline"]())
    assert {case.name: [type(result).__name__ for result in case.result] for case in suite} == {
        "Instructions against the baseline": ["Failure"],
        "Time here, CPU against the baseline": ["Error"],
        "MACs against the baseline": ["Skipped"],  # worse, but only warns
        "File size against the baseline": [],  # an improvement
        "Peak memory against the baseline": ["Skipped"],  # left out
    }
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (5, 1, 1, 2)
    instructions = next(iter(suite)).result[0]
    assert instructions.message.startswith("regression: +1.20 % [1.20, 1.20]: 50.6 M emulated on ")
    assert "emulated on emulate:cortex-a72" in instructions.message


@pytest.mark.parametrize("hostile", gates["HOSTILE"])
def test_hostile_names_stay_valid_xml_and_plain_text(hostile: str) -> None:
    report = sample["sample_report"](target=hostile, model={"path": hostile, "sha256": "ab" * 32})
    report = report.model_copy(
        update={"budgets": tuple(o.model_copy(update={"reason": hostile}) for o in report.budgets)}
    )
    xml = xml_of(report, gates["hostile_baseline"](hostile))
    [suite] = JUnitXml.fromstring(xml)
    assert suite.tests == 8
    assert len(suite.name) <= 80
    assert "\n" not in "".join(case.name for case in suite)
    assert b"<script" not in xml and b"]]>" not in xml


def test_the_schema_refuses_what_is_not_junit() -> None:
    wrong = xml_of(sample["sample_report"]()).replace(b"testcase", b"test-case")
    assert not SCHEMA.validate(etree.fromstring(wrong))


def test_names_that_no_terminal_shows_stay_well_formed_xml() -> None:
    xml = xml_of(sample["hostile_report"]())
    [suite] = JUnitXml.fromstring(xml)
    assert suite.tests == 3
    assert "\ufffd" in suite.name and len(suite.name) <= 80
    assert b"<script" not in xml
