"""A pytest plugin: the fixture `edgekd_gate`, for projects that judge their model in their own test suite.

    def test_model(edgekd_gate):
        edgekd_gate("runs/model", budget=["latency=30ms", "drop=1%"])

pytest loads this file at every start wherever edgekd is installed, so whatever is heavy is imported by the fixture.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from edgekd.gate_result import GateResult


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --edgekd-inconclusive."""
    parser.getgroup("edgekd").addoption(
        "--edgekd-inconclusive",
        choices=("fail", "skip"),
        default="fail",
        help="what a test does whose gate could not decide (default: fail)",
    )


@pytest.fixture(scope="session")
def edgekd_gate(pytestconfig: pytest.Config) -> Callable[..., "GateResult"]:
    """Judge a run as `edgekd gate` does: edgekd_gate(RUN, budget=["latency=30ms"], ...), with `edgekd.gate`'s keywords.

    Returns what was decided. A missed budget or a regression fails the test with one line per finding, and so does a
    run that cannot be judged; where nothing could be decided, --edgekd-inconclusive says whether the test fails or is
    skipped. What only warns is a warning of the test.
    """

    def judge(run: str | Path, **options: Any) -> "GateResult":
        __tracebackhide__ = True
        from edgekd.api import gate
        from edgekd.errors import EdgekdError, one_line
        from edgekd.rendering.findings import findings
        from edgekd.rendering.text import VERDICT_WORDS, clean

        try:
            result = gate(run, **options)
        except EdgekdError as error:
            pytest.fail(f"edgekd: {one_line(str(error))}", pytrace=False)
        found = findings(result.outcomes, result.baseline)
        for finding in found:
            if not finding.fine and not finding.fails:
                warnings.warn(f"edgekd: {finding.line}", stacklevel=2)
        if result.verdict == "pass":
            return result
        head = f"{VERDICT_WORDS[result.verdict]}: {clean(result.run, longest=200)} on {clean(result.target)}"
        if result.verdict == "inconclusive" and pytestconfig.getoption("--edgekd-inconclusive") == "skip":
            pytest.skip(f"{head}; {clean(result.reason, longest=300)}")
        pytest.fail("\n".join((head, *(f"  {finding.line}" for finding in found))), pytrace=False)

    return judge
