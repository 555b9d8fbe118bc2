"""Results on stdout: one JSON object, or tables that fit a terminal."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from edgekd.figures import Number
from edgekd.gate_result import Baseline
from edgekd.rendering import tables
from edgekd.rendering.columns import latency_columns, memory_column, score_column
from edgekd.rendering.findings import change, comparison_title
from edgekd.rendering.outline import compared
from edgekd.rendering.sections import Page
from edgekd.rendering.text import (
    BRACKETS,
    METRIC_TITLES,
    clean,
    count,
    figure,
    limit,
    quantity,
    spoken,
    spoken_actual,
)
from edgekd.results import BudgetOutcome, Report

_COLOURS = {"pass": "green", "missed": "red", "inconclusive": "yellow"}


def print_json(value: Any) -> None:
    """Exactly one JSON object on stdout."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    print(text.replace("##[", "#\\u0023["))  # the same JSON, but GitHub's runner obeys ##[COMMAND] anywhere in a line


def console() -> Console:
    """The console for results; no markup, because names in them come from files."""
    return Console(markup=False, highlight=False, soft_wrap=False)


def table(*columns: str) -> Table:
    """A plain table; the first column is names, which are never cut, the others are figures."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        made.add_column(name, justify="left" if index == 0 else "right", no_wrap=index == 0, overflow="fold")
    return made


def print_report(report: Report, root: Path) -> None:
    """The end of a run: models side by side, candidates with reasons, budgets, verdict, and where everything is."""
    out = console()
    rows = compared(report)
    figures = [row.figures for row in rows]
    scored, latency = score_column("Score", figures), latency_columns(figures)[0]
    columns = (scored, latency, memory_column(figures))
    models = table("", "MACs", "size", *(", ".join([c.title.lower(), *c.said.split()[:1]]) for c in columns))
    for index, row in enumerate(rows):
        cells = ((figure if column.said else spoken)(column.numbers[index], column.unit) for column in columns)
        models.add_row(row.title, count(row.figures.macs), quantity(row.figures.size_kib, "KiB"), *cells)
    out.print(models)
    shared = {
        column.said: [one.title for one in columns if one.said == column.said] for column in columns if column.said
    }
    told = [f"{' and '.join(titles).capitalize()} {said}. " for said, titles in shared.items()]
    out.print(f"{''.join(told)}{BRACKETS}", soft_wrap=True)
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


def print_page(page: Page, file: Path) -> None:
    """Several runs: the sentences and open tables of their page, and where it is."""
    out = console()
    for section in page.sections:
        for sentence in section.sentences:
            out.print(clean(sentence, longest=300), soft_wrap=True)
        for shown in section.tables:
            if shown.rows and not shown.folded:
                out.print(f"\n{clean(section.title)}: {clean(shown.title)}", _fitting(out, shown))
    out.print(f"\n{clean(page.stamp)}\npage      {file}", soft_wrap=True)


def _fitting(out: Console, shown: tables.Table) -> Table:
    """The table, or where words would have to be cut its rows one under the other, a line for each cell."""
    header = [clean(name) for name in shown.header]
    rows = [[clean(cell) if isinstance(cell, str) else spoken(cell) for cell in row] for row in shown.rows]
    wide = table(*header)
    for row in rows:
        wide.add_row(*row)
    if Measurement.get(out, out.options.update(max_width=10_000), wide).minimum <= out.width:
        return wide
    listed = Table(box=None, pad_edge=False, show_header=False)
    for row in rows:
        for name, cell in zip(header, row, strict=True):
            listed.add_row(name, cell)
        listed.add_row("", "")
    return listed


def budget_line(outcome: BudgetOutcome) -> str:
    """One budget with its limit, its figure and, where it decided nothing or was missed, the reason."""
    reason = f" ({clean(outcome.reason, longest=200)})" if outcome.reason else ""
    metric = METRIC_TITLES.get(outcome.metric, clean(outcome.metric))
    warns = " (warns only)" if outcome.severity == "warn" and outcome.verdict != "pass" else ""
    return f"{outcome.verdict:<12} {metric} {limit(outcome)}: {spoken_actual(outcome)}{reason}{warns}"


def print_comparisons(out: Console, baseline: Baseline) -> None:
    """What was compared with the baseline, one line each, then what was left out and why."""
    out.print(f"\nagainst {clean(baseline.name)}", soft_wrap=True)
    rows = table("", "", "before", "now", "change")
    for one in baseline.comparisons:
        only_warns = one.severity == "warn" and one.verdict not in ("pass", "improvement")
        verdict = f"{one.verdict}, warns" if only_warns else one.verdict
        rows.add_row(comparison_title(one.metric), verdict, *_worded(one.baseline, one.now), change(one))
    if baseline.comparisons:
        out.print(rows)
    for one in baseline.comparisons:
        if one.reason:
            out.print(f"{comparison_title(one.metric)}: {clean(one.reason, longest=300)}", soft_wrap=True)
    for metric, reason in baseline.left_out.items():
        out.print(f"{comparison_title(metric)} left out: {clean(reason, longest=300)}", soft_wrap=True)
    for note in baseline.notes:
        out.print(clean(note, longest=300), soft_wrap=True)
    out.print()


def _worded(*numbers: Number | None) -> list[str]:
    return ["" if number is None else f"{figure(number)} {number.word}" for number in numbers]
