"""Which plots a report has, each with its caption; what there are no figures for is left out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

from markupsafe import Markup

from edgekd.figures import Figures, Number
from edgekd.rendering.columns import latency_columns
from edgekd.rendering.outline import most_changed, operator_word, recalls
from edgekd.rendering.svg.bars import Bar, bar_of, bars
from edgekd.rendering.svg.curves import training_curves
from edgekd.rendering.svg.histogram import latency_histogram
from edgekd.rendering.svg.pareto import Point, pareto
from edgekd.rendering.svg.recall import recall_by_class
from edgekd.rendering.text import MODEL_TITLES, axis_unit, clean, interval, quantity
from edgekd.results import Report


@dataclass(frozen=True)
class Plot:
    """A drawing and the sentence under it."""

    title: str
    drawing: Markup
    caption: str


def comparison_plots(report: Report) -> list[Plot]:
    """Size and latency (the tail, where it is known) of teacher, student and what shipped."""
    models = [(key, report.models.get(key)) for key in ("teacher", "student", "shipped")]
    known = [(key, figures) for key, figures in models if figures is not None]
    latencies = [(key, f.latency_p95_ms) for key, f in known if _finite(f.latency_p95_ms)]
    sizes = [(key, _exact(f.size_kib, "KiB")) for key, f in known if f.size_kib is not None]
    plots = [
        _figure_bars("Size", "file size", sizes, "Bytes on disk of each exported file; exact."),
        _figure_bars(
            "Latency",
            _latency([f for _, f in known]),
            latencies,
            "One inference at batch 1. Outlined bars are estimates.",
        ),
    ]
    return [plot for plot in plots if plot.drawing]


def pareto_plot(report: Report) -> Plot | None:
    """Score against latency of the teacher and every candidate that has both."""
    points = [
        Point(
            f"{index} shipped" if c.chosen else str(index),
            c.latency_p95_ms,
            c.score,
            "shipped" if c.chosen else "plain",
        )
        for index, c in enumerate(report.candidates, start=1)
        if _finite(c.latency_p95_ms) and _finite(c.score)
    ]
    left_out = len(report.candidates) - len(points)
    teacher = report.models.get("teacher")
    if not points:
        return None
    score = teacher.score.value if teacher is not None and teacher.score is not None else None
    if teacher is not None and _finite(teacher.latency_p95_ms) and _finite(teacher.score):
        points.append(Point("teacher", teacher.latency_p95_ms, teacher.score, "teacher"))
    limits = {budget.metric: budget.limit for budget in report.budgets}
    drawn = pareto(
        points,
        cost=f"{_latency(report.candidates)} on {clean(report.target, longest=24)}",
        score=report.score_name or "score",
        budget=limits.get("latency"),
        lowest_score=score - limits["drop"] if score is not None and "drop" in limits else None,
    )
    caption = (
        "Numbers are those of the table above; the line joins what nothing else beats. Hollow points are estimates."
    )
    if left_out:
        caption += f" Not drawn, for want of a score or a latency: {left_out} of {len(report.candidates)}."
    return Plot("Score against latency", drawn, caption)


def training_plot(report: Report) -> Plot | None:
    """Validation score of student and control over training."""
    if report.distillation is None:
        return None
    drawn = training_curves(report.distillation.curves, score=report.score_name or "score")
    caption = "Same initial weights, sample order, augmentation and steps; only the teacher differs."
    if report.distillation.unlabelled:
        caption = (
            "Same initial weights and steps; what differs is the teacher, and that the student alone goes without the "
            f"{report.distillation.unlabelled:,} samples that have no label."
        )
    return Plot("Training", drawn, caption) if drawn else None


def class_plot(report: Report) -> Plot | None:
    """Recall, or another share, by class: teacher against shipped."""
    known = recalls(report.per_class)
    rows = most_changed(known)
    caption = "Ring: teacher. Dot: shipped. The classes that lost most come first."
    if len(rows) < len(known):
        caption += f" Shown are the {len(rows)} of {len(known)} classes that changed most."
    name = report.per_class_name
    return Plot(f"{name.capitalize()} by class", recall_by_class(rows, name), caption) if rows else None


def operator_plot(report: Report) -> Plot | None:
    """Estimated or emulated time by operator class."""
    word = operator_word(report)
    if not report.latency_by_operator:
        return None
    by_time = sorted(report.latency_by_operator.items(), key=lambda item: -item[1])
    total = sum(report.latency_by_operator.values())
    rows = [Bar(name, ms, f"{quantity(ms, 'ms')} · {_share(ms, total)}", word) for name, ms in by_time[:12]]
    drawn = bars("Time by operator", rows, label=f"time on {clean(report.target, longest=24)}, {word} (ms)")
    rest = sum(ms for _, ms in by_time[12:])
    caption = f"{word.capitalize()} for {clean(report.target)}, summed over all operators of a kind."
    if rest:
        caption += f" {len(by_time) - 12} more kinds take {quantity(rest, 'ms')} together."
    return Plot("Where the time goes", drawn, caption)


def histogram_plot(report: Report) -> Plot | None:
    """Single runs of the shipped model on the machine that timed it."""
    shipped = report.models.get("shipped")
    if shipped is None or shipped.host is None or not shipped.host.samples_ms:
        return None
    host = shipped.host
    drawn = latency_histogram(host.samples_ms, place=host.place)
    caption = f"{len(host.samples_ms)} runs measured on {clean(host.place)} in one fresh process, after warm-up."
    if host.place != report.target:
        caption += f" They say little about {clean(report.target)}."
    return Plot("Latency of single runs", drawn, caption)


def memory_plot(report: Report) -> Plot | None:
    """Peak resident set at four moments."""
    shipped = report.models.get("shipped")
    if shipped is None or shipped.host is None:
        return None
    memory, place = shipped.host.memory, clean(shipped.host.place)
    moments = {"after import of the runtime": memory.import_kib, "after load": memory.load_kib}
    moments |= {"after the first run": memory.first_kib, "steady state": memory.steady_kib}
    size, unit = axis_unit(max(moments.values()), "KiB")
    rows = [Bar(name, kib / size, quantity(kib, "KiB"), "measured", "shipped") for name, kib in moments.items()]
    drawn = bars("Peak memory", rows, label=f"peak resident set, measured on {place} ({unit})")
    return Plot("Memory", drawn, "A fresh process that holds only the runtime and the model.")


def _figure_bars(title: str, what: str, rows: list[tuple[str, Number]], caption: str) -> Plot:
    if not rows:
        return Plot(title, Markup(""), caption)
    size, unit = axis_unit(max(number.value for _, number in rows), rows[0][1].unit)
    words = " and ".join(dict.fromkeys(number.word for _, number in rows))
    drawn = [
        bar_of(
            _title(key),
            number,
            f"{quantity(number.value, number.unit)} {interval(number)}".strip(),
            kind=key,
            divisor=size,
        )
        for key, number in rows
    ]
    return Plot(title, bars(title, drawn, label=f"{what}, {words} ({unit})"), caption)


def _latency(rows: Sequence[Figures]) -> str:
    return latency_columns(rows)[-1].title.replace("L", "l", 1)


def _title(key: str) -> str:
    return next(title for name, title in MODEL_TITLES.items() if name == key)


def _finite(number: Number | None) -> TypeGuard[Number]:
    return number is not None and math.isfinite(number.value)


def _exact(value: float, unit: str) -> Number:
    return Number(value=value, unit=unit, word="measured", place="file")


def _share(part: float, whole: float) -> str:
    share = 100 * part / whole if whole else 0.0
    return f"{share:.0f} %" if share >= 1 else "under 1 %"
