"""The report as Markdown, for pull requests, CI summaries and terminals."""

import re
from collections.abc import Iterable, Sequence

from edgekd.rendering.columns import ONE_LATENCY, Column, column, latency_columns, memory_column, score_column
from edgekd.rendering.judgement import inherited, judged, judgement_tables
from edgekd.rendering.outline import (
    HOST_COST,
    HOW_COMPARED,
    HOW_RUN,
    SESSION_COST,
    absent,
    compared,
    flattened,
    metric_names,
    missing_data,
    most_changed,
    noise,
    operator_word,
    recalls,
    session_words,
    standing,
    teacher_worth,
)
from edgekd.rendering.quantization import climbed, quantization_tables
from edgekd.rendering.tables import Cell, Table
from edgekd.rendering.text import (
    BRACKETS,
    METRIC_TITLES,
    MISSING,
    VERDICT_WORDS,
    clean,
    count,
    figure,
    limit,
    quantity,
    spoken,
    spoken_actual,
    titled,
)
from edgekd.results import BudgetOutcome, Report


def render_markdown(report: Report) -> str:
    """Return the report as GitHub-flavoured Markdown; every figure with its interval and its word.

    Foreign strings (names, labels, paths, reasons) are cleaned and escaped, so they cannot add markup.
    """
    warning = missing_data(report)
    parts = (
        f"> **{warning}**" if warning else "",
        f"# {VERDICT_WORDS[report.verdict]}: {escape(report.model.path)} on {escape(report.target)}",
        escape(report.headline, longest=500),
        budget_table(report.budgets),
        _models(report),
        _candidates(report),
        _sessions(report),
        _quantization(report),
        _parity(report),
        _judgement(report),
        _classes(report),
        _operators(report),
        _host(report),
        _environment(report),
        f"## Reproduce\n\n{_fenced(report.command)}\n\nSeed {report.seed}; edgekd {escape(report.edgekd)}; "
        f"model SHA-256 `{escape(report.model.sha256)}`",
        _sentences("What is not known", report.unknown),
        _sentences("Fallbacks", report.fallbacks),
        _sentences("Warnings", report.warnings),
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def budget_table(outcomes: Sequence[BudgetOutcome]) -> str:
    """Return the budgets as a Markdown table, or a sentence where there are none."""
    if not outcomes:
        return "No budget was set.\n"
    rows = [
        (
            METRIC_TITLES.get(outcome.metric, escape(outcome.metric)),
            limit(outcome),
            escape(spoken_actual(outcome)),
            VERDICT_WORDS[outcome.verdict] + (" (warns only)" if outcome.severity == "warn" else ""),
            escape(outcome.reason, longest=300),
        )
        for outcome in outcomes
    ]
    return table(("Budget", "Limit", "Actual", "Verdict", "Why"), rows)


def escape(text: object, *, longest: int = 80) -> str:
    """Clean a foreign string and take the meaning from every character that Markdown or HTML would read as markup."""
    shown = clean(text, longest=longest).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = re.sub(r"([\\`*|~])", r"\\\1", shown)
    shown = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", shown)
    shown = re.sub(r"\](?=[(\[:])", r"\\]", shown)  # a bracket is markup only as a link, [27.1, 27.7] is none
    shown = re.sub(r"^(?=[#\[+-])", r"\\", shown)
    return shown.replace("://", ":&#47;&#47;").replace("www.", "www&#46;")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out cells that are already escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell or MISSING for cell in line)} |" for line in lines)


def _models(report: Report) -> str:
    rows = compared(report)
    figures = [row.figures for row in rows]
    latencies = latency_columns(figures)
    plain = (
        [f"**{row.title}**" + (f" {escape(row.note)}" if row.note else "") for row in rows],
        [quantity(row.drop.value, "fraction") if row.drop else "" for row in rows],
        [count(row.figures.macs) + _of_teacher(row.macs_ratio) for row in rows],
        [count(row.figures.params) for row in rows],
        [quantity(row.figures.size_kib, "KiB") + _of_teacher(row.size_ratio) for row in rows],
    )
    score, *others = (score_column(_score_title(report), figures), *latencies, memory_column(figures))
    header = ("Model", score.head, "Drop", "MACs", "Parameters", "Size", *(one.head for one in others))
    name, drop, macs, params, size = plain
    cells = (name, _cells(score), drop, macs, params, size, *map(_cells, others))
    text = f"## Side by side\n\n{table([escape(one) for one in header], zip(*cells, strict=True))}\n\n{BRACKETS}"
    text += f" {ONE_LATENCY}" if len(latencies) == 1 else ""
    if absent(report):
        text += f" Not part of this run: {', '.join(absent(report)).lower()}."
    metrics = metric_names(report)
    if metrics:
        values = [
            (row.title, *(f"{row.figures.metrics[m]:.4g}" if m in row.figures.metrics else "" for m in metrics))
            for row in rows
        ]
        text += f"\n\n{table(('Model', *(escape(metric) for metric in metrics)), values)}"
    if report.distillation:
        text += f"\n\n{teacher_worth(report)}"
    return text


def _score_title(report: Report) -> str:
    return titled(report.score_name or "score")


def _cells(shown: Column) -> list[str]:
    """Figures with their word and place, unless the column's head says those."""
    write = figure if shown.said else spoken
    return [escape(write(number, shown.unit)) for number in shown.numbers]


def _of_teacher(ratio: float | None) -> str:
    return "" if ratio is None else f" ({100 * ratio:.0f} % of the teacher's)"


def _candidates(report: Report) -> str:
    candidates = report.candidates
    cost = column(HOST_COST, [c.host_ratio_to_fp32 for c in candidates])
    columns = (score_column(_score_title(report), candidates), latency_columns(candidates)[-1], cost)
    header = ("#", "Candidate", "Size", *(one.head for one in columns), "SQNR", "Decision")
    figures = zip(*map(_cells, columns), strict=True)
    rows = [
        (
            str(index),
            f"{escape(c.id)} ({escape(', '.join(part for part in (c.scheme, c.runtime, standing(c)) if part))})",
            quantity(c.size_kib, "KiB"),
            *known[:-1],
            known[-1] + (f", timed as {escape(c.timed_as)}" if c.timed_as else ""),
            quantity(noise(c), "dB"),
            ("**shipped** " if c.chosen else "rejected: ") + escape(c.reason, longest=300),
        )
        for index, (c, known) in enumerate(zip(candidates, figures, strict=True), start=1)
    ]
    text = _table_section("What was tried", [escape(one) for one in header], rows)
    return text and f"{text}\n\n{HOW_COMPARED}"


def _sessions(report: Report) -> str:
    memory = column("Peak memory", [trial.peak_memory_kib for trial in report.sessions])
    cost = column(SESSION_COST, [trial.cost for trial in report.sessions])
    rows = [
        (
            escape(session_words(trial.session)),
            *known,
            ("**taken** " if trial.taken else "") + escape(trial.reason, longest=300),
        )
        for trial, *known in zip(report.sessions, _cells(memory), _cells(cost), strict=True)
    ]
    text = _table_section("How it is run", ("Session", escape(memory.head), escape(cost.head), "Decision"), rows)
    return text and f"{text}\n\n{HOW_RUN}"


def _parity(report: Report) -> str:
    rows = [(escape(p.output), f"{p.max_abs:.2g}", f"{p.cosine:.6f}", quantity(p.sqnr_db, "dB")) for p in report.parity]
    return _table_section("Export against the trained module", ("Output", "Largest difference", "Cosine", "SQNR"), rows)


def _judgement(report: Report) -> str:
    parts = [f"**{judged(report)}**" if judged(report) else "", inherited(report)]
    for shown in judgement_tables(report):
        parts += _laid_out(shown)
    text = "\n\n".join(part for part in parts if part)
    return f"## What the teacher was worth\n\n{text}" if text else ""


def _quantization(report: Report) -> str:
    parts = [f"**{escape(climbed(report), longest=300)}**" if climbed(report) else ""]
    for shown in quantization_tables(report):
        parts += _laid_out(shown)
    text = "\n\n".join(part for part in parts if part)
    return f"## How int8 was made\n\n{text}" if text else ""


def _laid_out(shown: Table) -> list[str]:
    rows = [[_cell(cell) for cell in row] for row in shown.rows]
    header = [escape(name) for name in shown.header]
    return [f"### {escape(shown.title)}", table(header, rows), escape(shown.note, longest=300)]


def _cell(cell: Cell) -> str:
    return escape(cell if isinstance(cell, str) else spoken(cell), longest=300)


def _classes(report: Report) -> str:
    known = recalls(report.per_class)
    shown = most_changed(known)
    rows = [
        (
            escape(row.name),
            f"{100 * row.teacher:.1f} %",
            f"{100 * row.shipped:.1f} %",
            f"{100 * (row.shipped - row.teacher):+.1f} points",
        )
        for row in shown
    ]
    which = f" (the {len(shown)} of {len(known)} that changed most)" if len(shown) < len(known) else ""
    return _table_section(
        f"{report.per_class_name.capitalize()} by class{which}", ("Class", "Teacher", "Shipped", "Change"), rows
    )


def _operators(report: Report) -> str:
    by_time = sorted(report.latency_by_operator.items(), key=lambda item: -item[1])
    rows = [(escape(name), f"{quantity(ms, 'ms')} {operator_word(report)}") for name, ms in by_time]
    return _table_section("Where the time goes", ("Operator", f"Time for {escape(report.target)}"), rows)


def _host(report: Report) -> str:
    shipped = report.models.get("shipped")
    if shipped is None or shipped.host is None:
        return ""
    host = shipped.host
    numbers = {
        "p50": host.latency.p50_ms,
        "p90": host.latency.p90_ms,
        "p95": host.latency.p95_ms,
        "p99": host.latency.p99_ms,
    }
    rows = [(f"Latency, {name}", escape(spoken(number))) for name, number in numbers.items()]
    rows += [("CPU time", escape(spoken(host.cpu_ms)))]
    said = f"measured on {escape(host.place)}"
    rows += [
        ("Load", f"{quantity(host.load_ms, 'ms')} {said}"),
        ("First run", f"{quantity(host.first_ms, 'ms')} {said}"),
    ]
    memory = {"import": host.memory.import_kib, "load": host.memory.load_kib, "first run": host.memory.first_kib}
    memory["steady state"] = host.memory.steady_kib
    rows += [(f"Peak memory after {moment}", f"{quantity(kib, 'KiB')} {said}") for moment, kib in memory.items()]
    rows += [("Disturbed", escape(note, longest=300)) for note in host.disturbed]
    title = f"Shipped model timed on {escape(host.place)}, {escape(host.runtime)} {escape(host.runtime_version)}"
    return _table_section(title, ("Figure", "Value"), rows)


def _environment(report: Report) -> str:
    rows = [(escape(key), escape(value, longest=200)) for key, value in flattened(report.environment)]
    return _table_section("Environment", ("Key", "Value"), rows)


def _table_section(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"## {title}\n\n{table(header, rows)}" if rows else ""


def _sentences(title: str, sentences: Sequence[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {escape(text, longest=500)}" for text in sentences) if sentences else ""


def _fenced(code: str) -> str:
    """Fence with more backticks than the longest run inside."""
    shown = clean(code, longest=4000)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    return f"{fence}sh\n{shown}\n{fence}"
