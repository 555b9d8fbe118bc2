"""The report as Markdown, for pull requests, CI summaries and terminals."""

from collections.abc import Sequence

from edgekd.rendering.columns import ONE_LATENCY, Column, column, latency_columns, memory_column, score_column
from edgekd.rendering.gfm import bullets, escape, fenced, laid_out, table, table_section
from edgekd.rendering.judgement import inherited, judged, judgement_tables
from edgekd.rendering.outline import (
    HOST_COST,
    HOW_COMPARED,
    HOW_RUN,
    SESSION_COST,
    absent,
    compared,
    device_tables,
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
from edgekd.rendering.text import (
    BRACKETS,
    METRIC_TITLES,
    VERDICT_WORDS,
    count,
    limit,
    quantity,
    spoken,
    spoken_actual,
    titled,
)
from edgekd.results import BudgetOutcome, Report

MOST_MISTAKES = 10


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
        _parity(report),
        _judgement(report),
        _classes(report),
        _confusion(report),
        _quantization(report),
        _operators(report),
        _host(report),
        _devices(report),
        _environment(report),
        f"## Reproduce\n\n{fenced(report.command)}\n\nSeed {report.seed}; edgekd {escape(report.edgekd)}; "
        f"model SHA-256 `{escape(report.model.sha256)}`",
        bullets("What is not known", report.unknown),
        bullets("Fallbacks", report.fallbacks),
        bullets("Warnings", report.warnings),
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
    return [escape(text) for text in shown.texts]


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
    text = table_section("What was tried", [escape(one) for one in header], rows)
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
    text = table_section("How it is run", ("Session", escape(memory.head), escape(cost.head), "Decision"), rows)
    return text and f"{text}\n\n{HOW_RUN}"


def _parity(report: Report) -> str:
    rows = [(escape(p.output), f"{p.max_abs:.2g}", f"{p.cosine:.6f}", quantity(p.sqnr_db, "dB")) for p in report.parity]
    return table_section("Export against the trained module", ("Output", "Largest difference", "Cosine", "SQNR"), rows)


def _judgement(report: Report) -> str:
    parts = [f"**{judged(report)}**" if judged(report) else "", inherited(report)]
    for shown in judgement_tables(report):
        parts += laid_out(shown)
    text = "\n\n".join(part for part in parts if part)
    return f"## What the teacher was worth\n\n{text}" if text else ""


def _quantization(report: Report) -> str:
    parts = [f"**{escape(climbed(report), longest=300)}**" if climbed(report) else ""]
    for shown in quantization_tables(report):
        parts += laid_out(shown)
    text = "\n\n".join(part for part in parts if part)
    return f"## How int8 was made\n\n{text}" if text else ""


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
    return table_section(
        f"{report.per_class_name.capitalize()} by class{which}", ("Class", "Teacher", "Shipped", "Change"), rows
    )


def _confusion(report: Report) -> str:
    found = report.confusion
    if found is None:
        return ""
    rows = [
        (
            escape(pair.truth),
            escape(pair.answer),
            f"{pair.shipped} of {found.samples.get(pair.truth, 0)}",
            "" if pair.teacher is None else str(pair.teacher),
        )
        for pair in found.pairs[:MOST_MISTAKES]
    ]
    return table_section("Most frequent mistakes", ("Class", "Taken for", "Shipped", "Teacher"), rows)


def _devices(report: Report) -> str:
    blocks = [block for shown in device_tables(report) for block in laid_out(shown)]
    return "\n\n".join(["## Other devices", *blocks]) if blocks else ""


def _operators(report: Report) -> str:
    by_time = sorted(report.latency_by_operator.items(), key=lambda item: -item[1])
    rows = [(escape(name), f"{quantity(ms, 'ms')} {operator_word(report)}") for name, ms in by_time]
    return table_section("Where the time goes", ("Operator", f"Time for {escape(report.target)}"), rows)


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
    return table_section(title, ("Figure", "Value"), rows)


def _environment(report: Report) -> str:
    rows = [(escape(key), escape(value, longest=200)) for key, value in flattened(report.environment)]
    return table_section("Environment", ("Key", "Value"), rows)
