"""What the gate found in words that JUnit, GitHub and test suites share: one finding per budget and per comparison."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgekd.budget import Severity
from edgekd.gate_result import Baseline, Comparison, ComparisonVerdict, GateVerdict
from edgekd.rendering.text import (
    COMPARISON_TITLES,
    METRIC_TITLES,
    MISSING,
    VERDICT_WORDS,
    clean,
    figure,
    limit,
    spoken,
    spoken_actual,
)
from edgekd.results import BudgetOutcome

_REASON = 300
FINE = ("pass", "improvement")
WARNS = " (warns only)"


@dataclass(frozen=True)
class Finding:
    """One budget or comparison; every string is cleaned, and may still hold markup of whatever it is written into.

    `title` is what it is about ("Latency, p95"), `asked` what was wanted ("at most 30 ms"), `found` the figure.
    """

    title: str
    asked: str
    found: str
    verdict: GateVerdict | ComparisonVerdict
    severity: Severity
    reason: str

    @property
    def name(self) -> str:
        """What it is about and what was wanted."""
        return f"{self.title} {self.asked}"

    @property
    def fine(self) -> bool:
        """Whether nobody needs to look at it."""
        return self.verdict in FINE

    @property
    def fails(self) -> bool:
        """Whether it fails the build: not fine, and more than a warning."""
        return self.severity == "error" and not self.fine

    @property
    def told(self) -> str:
        """The figure, and why that decided."""
        return "; ".join(part for part in (self.found, self.reason) if part)

    @property
    def line(self) -> str:
        """Verdict, name and what was found, in one line."""
        return f"{VERDICT_WORDS[self.verdict]}: {self.name}: {self.told}{'' if self.fails or self.fine else WARNS}"


def findings(budgets: Sequence[BudgetOutcome], baseline: Baseline | None = None) -> tuple[Finding, ...]:
    """Return the budgets in their order, then the comparisons in theirs, or that there is none which could fail."""
    of_budgets = tuple(map(_of_budget, budgets))
    if baseline is None:
        return of_budgets
    of_comparisons = tuple(map(_of_comparison, baseline.comparisons))
    compared = any(finding.severity == "error" for finding in of_comparisons)
    return (*of_budgets, *of_comparisons, *(() if compared else (_NOTHING_COMPARED,)))


def comparison_title(metric: str) -> str:
    """What a comparison is about, in words."""
    return COMPARISON_TITLES.get(metric) or clean(metric)


def change(comparison: Comparison) -> str:
    """Write the change with its sign, as in "+3.10 % [2.00, 4.20]"."""
    number = comparison.change
    return MISSING if number is None else f"{'+' if number.value > 0 else ''}{figure(number)}"


def _of_budget(outcome: BudgetOutcome) -> Finding:
    return Finding(
        title=METRIC_TITLES.get(outcome.metric) or clean(outcome.metric),
        asked=limit(outcome),
        found=clean(spoken_actual(outcome), longest=_REASON),
        verdict=outcome.verdict,
        severity=outcome.severity,
        reason=clean(outcome.reason, longest=_REASON),
    )


def _of_comparison(comparison: Comparison) -> Finding:
    figures = [change(comparison)] if comparison.change else []
    if comparison.now is not None and comparison.baseline is not None:
        figures.append(f"{spoken(comparison.now)}, {spoken(comparison.baseline)} before")
    return Finding(
        title=comparison_title(comparison.metric),
        asked="against the baseline",
        found=clean(": ".join(figures), longest=_REASON),
        verdict=comparison.verdict,
        severity=comparison.severity,
        reason=clean(comparison.reason, longest=_REASON),
    )


_NOTHING_COMPARED = Finding(
    title="Comparison",
    asked="with the baseline",
    found="",
    verdict="inconclusive",
    severity="error",
    reason="nothing that could fail could be compared",
)
