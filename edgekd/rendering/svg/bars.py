"""Horizontal bars with their intervals, from zero or, as steps of a waterfall, from where the last one ended."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edgekd.figures import Number, Word
from edgekd.rendering.svg.drawing import AXIS_HEIGHT, RIGHT, TOP, WIDTH, Scale, drawing, fit, tag, text_width, x_axis
from edgekd.rendering.text import clean

ROW, BAR = 36.0, 12.0


@dataclass(frozen=True)
class Bar:
    """One row from `start` to `value`. `text` stands beside the name; `kind` is the class that colours it."""

    name: str
    value: float
    text: str
    word: Word
    kind: str = "plain"
    low: float | None = None
    high: float | None = None
    start: float = 0.0


def bar_of(name: str, number: Number, text: str, *, kind: str, divisor: float = 1.0) -> Bar:
    """A bar for a figure, in the axis's unit."""
    low, high = (None if bound is None else bound / divisor for bound in (number.low, number.high))
    return Bar(name, number.value / divisor, text, number.word, kind, low, high)


def bars(title: str, rows: Sequence[Bar], *, label: str) -> Markup:
    """Draw bars; `label` names the axis and its unit. An estimate is outlined, anything else is filled."""
    top = max(end for bar in rows for end in (bar.start, bar.value, bar.high) if end is not None)
    scale = Scale(0.0, (top or 1.0) * 1.04, 4.0, WIDTH - RIGHT)
    bottom = TOP + ROW * len(rows)
    said = "; ".join(f"{clean(bar.name)}: {bar.text}" for bar in rows)
    return drawing(
        title,
        said,
        x_axis(scale, label, top=TOP, bottom=bottom),
        *(_row(bar, scale, TOP + ROW * index) for index, bar in enumerate(rows)),
        height=bottom + AXIS_HEIGHT,
    )


def _row(bar: Bar, scale: Scale, y: float) -> Markup:
    left, right = sorted((scale(bar.start), scale(bar.value)))
    style = f"bar {bar.kind} {bar.word}"
    room = scale.end - scale.start - text_width(bar.text)
    parts = [
        tag("text", fit(bar.name, room), x=scale.start, y=y + 11, class_="name"),
        tag("text", bar.text, x=scale.end, y=y + 11, text_anchor="end", class_="value"),
        tag("rect", x=left, y=y + 17, width=max(1.0, right - left), height=BAR, rx=2, class_=style),
    ]
    if bar.low is not None and bar.high is not None and bar.low < bar.high:
        middle = y + 17 + BAR / 2
        parts.append(tag("line", x1=scale(bar.low), x2=scale(bar.high), y1=middle, y2=middle, class_="whisker"))
        for bound in (bar.low, bar.high):
            parts.append(tag("line", x1=scale(bound), x2=scale(bound), y1=middle - 4, y2=middle + 4, class_="whisker"))
    return tag("g", *parts)
