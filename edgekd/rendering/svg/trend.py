"""One figure over many runs, in the order of time, each with its interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edgekd.figures import Number
from edgekd.rendering.svg.drawing import AXIS_HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, drawing, span, tag, x_axis, y_axis

BOTTOM = 176.0


@dataclass(frozen=True)
class Step:
    """A run by its number in the table, with its figure; `verdict` colours its dot."""

    run: int
    number: Number
    verdict: str


def trend(title: str, steps: Sequence[Step], *, label: str, divisor: float = 1.0) -> Markup:
    """Draw figures by run, each divided by `divisor`; a line joins those that were had in the same way on the same
    place. `label` names the axis and its unit. "" without figures."""
    known = [step for step in steps if math.isfinite(step.number.value)]
    if not known:
        return Markup("")
    x = Scale(known[0].run - 0.5, known[-1].run + 0.5, LEFT, WIDTH - RIGHT)
    ends = [end / divisor for step in known for end in _ends(step.number)]
    y = Scale(*span(ends, padding=0.12), BOTTOM, TOP)
    points = [(x(step.run), y(step.number.value / divisor)) for step in known]
    pairs = zip(known, known[1:], points, points[1:], strict=False)
    lines = [
        tag("line", x1=a[0], y1=a[1], x2=b[0], y2=b[1], class_="curve shipped")
        for one, other, a, b in pairs
        if _had(one.number) == _had(other.number)
    ]
    said = "; ".join(f"run {step.run}: {step.number.value / divisor:.4g}" for step in known[-12:])
    return drawing(
        title,
        f"{label}. {said}",
        x_axis(x, "run, the oldest first (count)", top=TOP, bottom=BOTTOM, about=min(5, len(known))),
        y_axis(y, label, left=LEFT, right=WIDTH - RIGHT),
        *lines,
        *(_whisker(step.number, at, y, divisor) for step, (at, _) in zip(known, points, strict=True)),
        *(
            tag("circle", cx=a, cy=b, r=4.5, class_=f"marker verdict-{step.verdict} {step.number.word}")
            for step, (a, b) in zip(known, points, strict=True)
        ),
        height=BOTTOM + AXIS_HEIGHT,
    )


def _ends(number: Number) -> list[float]:
    ends = (number.low, number.value, number.high)
    return [end for end in ends if end is not None and math.isfinite(end)]


def _had(number: Number) -> tuple[str, str]:
    return number.word, number.place


def _whisker(number: Number, at: float, y: Scale, divisor: float) -> Markup:
    if number.low is None or number.high is None or number.low == number.high:
        return Markup("")
    return tag("line", x1=at, x2=at, y1=y(number.low / divisor), y2=y(number.high / divisor), class_="whisker strong")
