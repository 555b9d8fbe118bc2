"""Score against cost: what each candidate costs and what it is worth, and which of them nothing beats."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edgekd.figures import Number, Word
from edgekd.rendering.svg.drawing import (
    AXIS_HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Scale,
    drawing,
    fit,
    span,
    tag,
    text_width,
    x_axis,
    y_axis,
)
from edgekd.rendering.text import clean

BOTTOM = 246.0


@dataclass(frozen=True)
class Point:
    """One model, or one way to train it: `label` is its number in the table beside, or its name."""

    label: str
    cost: Number
    score: Number
    kind: str = "plain"


def pareto_front(points: Sequence[Point], word: Word) -> list[Point]:
    """Points of this word of cost that no other such point beats in both cost and score, cheapest first."""
    alike = sorted((p for p in points if p.cost.word == word), key=lambda p: (p.cost.value, -p.score.value))
    front: list[Point] = []
    for point in alike:
        if not front or point.score.value > front[-1].score.value:
            front.append(point)
    return front


def pareto(
    points: Sequence[Point],
    *,
    cost: str,
    score: str,
    budget: float | None = None,
    lowest_score: float | None = None,
) -> Markup:
    """Draw score in per cent against cost, of which `cost` names quantity and place; "" without points.

    Estimated points are hollow, measured and emulated ones filled. The front joins only points of one word, since an
    estimate is never compared with a measurement: the word of the shipped point, else of the first.
    """
    if not points:
        return Markup("")
    unit, axis = clean(points[0].cost.unit, longest=12), clean(cost, longest=40)
    words = dict.fromkeys(p.cost.word for p in points)
    word = next((p for p in points if p.kind == "shipped"), points[0]).cost.word
    front = pareto_front(points, word)
    highest = [p.cost.high if p.cost.high is not None else p.cost.value for p in points]
    x = Scale(0.0, 1.06 * max([*highest, budget or 0.0]) or 1.0, LEFT, WIDTH - RIGHT)
    y = Scale(*span([100 * v for v in _score_values(points, lowest_score)], padding=0.1), BOTTOM, TOP)
    said = "; ".join(f"{clean(p.label)}: {p.cost.value:.3g} {unit}, {100 * p.score.value:.2f} %" for p in points)
    return drawing(
        f"Score against {axis}",
        f"{said}. Nothing beats {', '.join(clean(p.label) for p in front)}.",
        x_axis(x, f"{axis}, {' and '.join(words)} ({unit})", top=TOP, bottom=BOTTOM),
        y_axis(y, f"{clean(score, longest=24)} (%)", left=LEFT, right=WIDTH - RIGHT),
        _front_line(front, x, y),
        *(_whiskers(point, x, y) for point in points),
        *(_marker(point, x, y) for point in points),
        _budget(x, budget, unit),
        _lowest(y, lowest_score, front),
        *_labels(points, x, y),
        height=BOTTOM + AXIS_HEIGHT,
    )


def _score_values(points: Sequence[Point], lowest_score: float | None) -> list[float]:
    bounds = [bound for p in points for bound in (p.score.low, p.score.value, p.score.high) if bound is not None]
    return bounds if lowest_score is None else [*bounds, lowest_score]


def _budget(x: Scale, budget: float | None, unit: str) -> Markup:
    if budget is None:
        return Markup("")
    at = x(budget)
    side, anchor = (4.0, "start") if at < WIDTH * 0.7 else (-4.0, "end")
    name = tag("text", f"budget {budget:g} {unit}", x=at + side, y=BOTTOM - 6, text_anchor=anchor, class_="budget-name")
    return tag("g", tag("line", x1=at, x2=at, y1=TOP, y2=BOTTOM, class_="budget"), name)


def _lowest(y: Scale, lowest: float | None, front: Sequence[Point]) -> Markup:
    """The limit as a line across, its name on the side of it where the front does not run to the right edge."""
    if lowest is None:
        return Markup("")
    at = y(100 * lowest)
    above = at - y(100 * front[-1].score.value) if front else 0.0
    beside = at + 13 if 0.0 < above < 20.0 and at + 13 < BOTTOM else at - 5
    name = tag("text", "lowest score allowed", x=WIDTH - RIGHT, y=beside, text_anchor="end", class_="budget-name")
    return tag("g", tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at, class_="budget"), name)


def _front_line(front: Sequence[Point], x: Scale, y: Scale) -> Markup:
    """A staircase: between two points of the front, the faster one is still the best to be had."""
    if not front:
        return Markup("")
    path = [f"M{x(front[0].cost.value):.1f},{BOTTOM:.1f}"]
    for point in front:
        path.append(f"H{x(point.cost.value):.1f}V{y(100 * point.score.value):.1f}")
    path.append(f"H{x.end:.1f}")
    return tag("path", d="".join(path), class_="front")


def _whiskers(point: Point, x: Scale, y: Scale) -> Markup:
    at_x, at_y = x(point.cost.value), y(100 * point.score.value)
    parts = []
    if point.cost.low is not None and point.cost.high is not None:
        low, high = x(point.cost.low), x(point.cost.high)
        parts.append(tag("line", x1=low, x2=high, y1=at_y, y2=at_y, class_="whisker"))
    if point.score.low is not None and point.score.high is not None:
        low, high = y(100 * point.score.low), y(100 * point.score.high)
        parts.append(tag("line", x1=at_x, x2=at_x, y1=low, y2=high, class_="whisker"))
    return tag("g", *parts)


def _marker(point: Point, x: Scale, y: Scale) -> Markup:
    at_x, at_y = x(point.cost.value), y(100 * point.score.value)
    style = f"marker {point.kind} {point.cost.word}"
    if point.kind == "teacher":
        return tag("rect", x=at_x - 5, y=at_y - 5, width=10, height=10, class_=style)
    return tag("circle", cx=at_x, cy=at_y, r=7 if point.kind == "shipped" else 5, class_=style)


def _labels(points: Sequence[Point], x: Scale, y: Scale) -> list[Markup]:
    """Put each label where it hides no point and no earlier label, as far as there is such a side."""
    taken = [(x(p.cost.value) - 8, y(100 * p.score.value) - 8, 16.0, 16.0) for p in points]
    labels = []
    for point in points:
        text = fit(point.label, 140.0)
        width, at_x, at_y = text_width(text), x(point.cost.value), y(100 * point.score.value)
        sides = [(10.0, -8.0), (-10.0 - width, -8.0), (10.0, 18.0), (-10.0 - width, 18.0), (10.0, -22.0), (10.0, 32.0)]
        boxes = [(at_x + dx, at_y + dy - 10, width, 12.0) for dx, dy in sides]
        inside = [box for box in boxes if box[0] >= LEFT and box[0] + width <= WIDTH and box[1] >= 0]
        box = next((b for b in inside if not any(_overlap(b, other) for other in taken)), (inside or boxes)[0])
        taken.append(box)
        labels.append(tag("text", text, x=box[0], y=box[1] + 10, class_=f"point-name {point.kind}"))
    return labels


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]
