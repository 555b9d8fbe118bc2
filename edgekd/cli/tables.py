"""Results on stdout: one JSON object, or tables that fit a terminal."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgekd.rendering.outline import compared
from edgekd.rendering.text import clean, interval, limit, quantity, spoken
from edgekd.results import Report

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
    models = table("", "score", "MACs", "size", "latency p50", "peak memory")
    for column in compared(report):
        figures = column.figures
        models.add_row(
            column.title,
            interval(figures.score) if figures.score else "-",
            quantity(figures.macs, "") if figures.macs else "-",
            quantity(figures.size_kib, "KiB"),
            spoken(figures.latency_p50_ms) if figures.latency_p50_ms else "-",
            spoken(figures.peak_memory_kib) if figures.peak_memory_kib else "-",
        )
    out.print(models)
    out.print()
    candidates = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("candidate", "", "why"):
        candidates.add_column(name)
    for candidate in report.candidates:
        candidates.add_row(
            clean(candidate.id), "ships" if candidate.chosen else "", clean(candidate.reason, longest=200)
        )
    out.print(candidates)
    out.print()
    for outcome in report.budgets:
        actual = spoken(outcome.actual) if outcome.actual else "not known"
        out.print(Text(f"{outcome.verdict:<12} {limit(outcome)}: {actual} {outcome.reason}", _COLOURS[outcome.verdict]))
    out.print(Text(f"{report.verdict}: {clean(report.headline, longest=300)}", f"bold {_COLOURS[report.verdict]}"))
    out.print(f"artifact  {root / 'artifact'}")
    out.print(f"report    {root / 'report' / 'report.html'}")
