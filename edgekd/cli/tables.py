"""Results on stdout: one JSON object, or tables that fit a terminal."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgekd.rendering.outline import compared
from edgekd.rendering.text import METRIC_TITLES, clean, count, interval, limit, quantity, spoken
from edgekd.results import BudgetOutcome, Number, Report

_COLOURS = {"pass": "green", "missed": "red", "inconclusive": "yellow"}


def print_json(value: Any) -> None:
    """Exactly one JSON object on stdout."""
    print(json.dumps(value, indent=1, ensure_ascii=False))


def console() -> Console:
    """The console for results; no markup, because names in them come from files."""
    return Console(markup=False, highlight=False, soft_wrap=False)


def table(*columns: str) -> Table:
    """A plain table; the first column is text, the others are figures."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        made.add_column(column, justify="left" if index == 0 else "right")
    return made


def print_report(report: Report, root: Path) -> None:
    """The end of a run: models side by side, candidates with reasons, budgets, verdict, and where everything is."""
    out = console()
    word = next((c.figures.latency_p50_ms.word for c in compared(report) if c.figures.latency_p50_ms), "")
    models = table("", "score, measured", "MACs", "size", f"latency p50, {word}", f"peak memory, {word}")
    for column in compared(report):
        figures = column.figures
        models.add_row(
            column.title,
            _with_interval(figures.score, "score"),
            count(figures.macs),
            quantity(figures.size_kib, "KiB"),
            _with_interval(figures.latency_p50_ms),
            _with_interval(figures.peak_memory_kib),
        )
    out.print(models)
    out.print()
    candidates = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("candidate", "", "why"):
        candidates.add_column(name)
    for candidate in report.candidates:
        ships = "ships" if candidate.chosen else ""
        candidates.add_row(clean(candidate.id), ships, clean(candidate.reason, longest=200))
    out.print(candidates)
    out.print()
    for outcome in report.budgets:
        out.print(Text(budget_line(outcome), _COLOURS[outcome.verdict]))
    out.print(Text(f"{report.verdict}: {clean(report.headline, longest=300)}", f"bold {_COLOURS[report.verdict]}"))
    for name, path in (("artifact", root / "artifact"), ("report", root / "report" / "report.html")):
        out.print(f"{name:<9} {path}", soft_wrap=True)


def budget_line(outcome: BudgetOutcome) -> str:
    """One budget with its limit, its figure and, where it decided nothing or was missed, the reason."""
    actual = spoken(outcome.actual) if outcome.actual else "not known"
    reason = f" ({clean(outcome.reason, longest=200)})" if outcome.reason else ""
    metric = METRIC_TITLES.get(outcome.metric, clean(outcome.metric))
    return f"{outcome.verdict:<12} {metric} {limit(outcome)}: {actual}{reason}"


def _with_interval(number: Number | None, unit: str | None = None) -> str:
    if number is None:
        return "-"
    return f"{quantity(number.value, unit or number.unit)} {interval(number, unit)}".strip()
