"""Budgets and comparisons as JUnit XML, which every CI system shows. Valid against Jenkins' schema, junit-10.xsd."""

from collections.abc import Sequence

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from edgekd.gate_result import Baseline, GateVerdict
from edgekd.rendering.findings import Finding, comparison_title, findings
from edgekd.rendering.text import clean
from edgekd.results import BudgetOutcome


def render_junit(
    budgets: Sequence[BudgetOutcome],
    baseline: Baseline | None = None,
    *,
    target: str,
    subject: str,
    verdict: GateVerdict,
) -> str:
    """Return one test case per budget, comparison and comparison left out, or a single one where there is none.

    What is missed or a regression is a failure, what is inconclusive an error, and either is only skipped at severity
    `warn`, since it does not fail the build. `subject` names what was judged. Foreign strings are cleaned, so that the
    XML is well formed whatever the model is named.
    """
    suite = TestSuite(clean(f"edgekd {target}"))
    suite.add_property("model", clean(subject, longest=200))
    suite.add_property("verdict", verdict)
    if baseline is not None:
        suite.add_property("baseline", clean(baseline.name, longest=200))
    cases = [_case(finding, target) for finding in findings(budgets, baseline)]
    cases += [_left_out(metric, why, target) for metric, why in (baseline.left_out if baseline else {}).items()]
    suite.add_testcases(cases or [TestCase("no budget was set", classname=_class(target))])
    xml = JUnitXml("edgekd")
    xml.add_testsuite(suite)
    return bytes(xml.tostring()).decode()  # type: ignore[no-untyped-call]


def _case(finding: Finding, target: str) -> TestCase:
    case = TestCase(finding.name, classname=_class(target))
    if not finding.fine:
        kind = Skipped if not finding.fails else Error if finding.verdict == "inconclusive" else Failure
        case.result = [kind(f"{finding.verdict}: {finding.told}", finding.verdict)]
    case.system_out = f"{finding.title}: {finding.told}"
    return case


def _left_out(metric: str, why: str, target: str) -> TestCase:
    case = TestCase(f"{comparison_title(metric)} against the baseline", classname=_class(target))
    case.result = [Skipped(clean(why, longest=300), "left out")]
    return case


def _class(target: str) -> str:
    return clean(f"edgekd.{target}")
