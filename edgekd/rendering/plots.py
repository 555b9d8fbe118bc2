"""The plots of models and candidates, each with its caption; what there are no figures for is left out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

from markupsafe import Markup

from edgekd.figures import Figures, Number
from edgekd.rendering.columns import latency_columns
from edgekd.rendering.svg.bars import Bar, bar_of, bars
from edgekd.rendering.svg.curves import training_curves
from edgekd.rendering.svg.pareto import Point, pareto
from edgekd.rendering.text import MODEL_TITLES, axis_unit, clean, interval, quantity
from edgekd.results import Report


@dataclass(frozen=True)
class Plot:
    """A drawing and the sentence under it."""

    title: str
    drawing: Markup
    caption: str


def waterfall_plots(report: Report) -> list[Plot]:
    """Size and latency (the tail, where it is known) from teacher to what shipped, and what each step saves."""
    known = [figures for _, _, figures in _path_to_shipped(report)]
    sizes = [(name, kind, _exact(f.size_kib)) for name, kind, f in _path_to_shipped(report)]
    latencies = [(name, kind, f.latency_p95_ms) for name, kind, f in _path_to_shipped(report)]
    steps = "Between the whole bars: what a step takes away, or in red adds."
    return [
        *_waterfall("Size", "file size", sizes, f"Bytes on disk of each exported file; exact. {steps}"),
        *_waterfall(
            "Latency",
            _latency(known),
            latencies,
            f"One inference at batch 1. Outlined bars are estimates. {steps}",
        ),
    ]


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


def _path_to_shipped(report: Report) -> list[tuple[str, str, Figures]]:
    """Teacher, the student that was trained for what ships, and what ships, each with what led to it and its colour."""
    trained = report.distillation.shipped if report.distillation else None
    chosen = next((candidate for candidate in report.candidates if candidate.chosen), None)
    path: list[tuple[str, str, Figures | None]] = [("", "teacher", report.models.get("teacher"))]
    if trained is not None:
        path.append(("smaller student", trained, report.models.get(trained)))
    path.append((chosen.scheme if chosen else "export", "shipped", report.models.get("shipped")))
    return [(name, kind, figures) for name, kind, figures in path if figures is not None]


def _waterfall(title: str, what: str, path: Sequence[tuple[str, str, Number | None]], caption: str) -> list[Plot]:
    """Whole bars at both ends and the steps between; where figures were had in different ways, bars and no steps."""
    known = [(name, kind, number) for name, kind, number in path if _finite(number)]
    if not known:
        return []
    size, unit = axis_unit(max(number.value for _, _, number in known), known[0][2].unit)
    words = dict.fromkeys((number.word, number.place) for _, _, number in known)
    rows = []
    before: Number | None = None
    for index, (name, kind, number) in enumerate(known):
        if before is not None and len(words) == 1:
            rows.append(_step(name, before, number, size))
        if len(words) > 1 or index in (0, len(known) - 1):
            text = f"{quantity(number.value, number.unit)} {interval(number)}".strip()
            rows.append(bar_of(_title(kind), number, text, kind=kind, divisor=size))
        before = number
    said = " and ".join(dict.fromkeys(word for word, _ in words))
    return [Plot(title, bars(title, rows, label=f"{what}, {said} ({unit})"), caption)]


def _step(name: str, before: Number, after: Number, size: float) -> Bar:
    change = after.value - before.value
    share = f", {100 * change / before.value:+.0f} %" if before.value else ""
    text = f"{'+' if change > 0 else '-'}{quantity(abs(change), after.unit)}{share}".replace("-", "\u2212")
    kind = "loss" if change > 0 else "gain"
    return Bar(name, after.value / size, text, after.word, kind, start=before.value / size)


def _latency(rows: Sequence[Figures]) -> str:
    return latency_columns(rows)[-1].title.replace("L", "l", 1)


def _title(key: str) -> str:
    return next(title for name, title in MODEL_TITLES.items() if name == key)


def _finite(number: Number | None) -> TypeGuard[Number]:
    return number is not None and math.isfinite(number.value)


def _exact(kib: float | None) -> Number | None:
    return None if kib is None else Number(value=kib, unit="KiB", word="measured", place="file")
