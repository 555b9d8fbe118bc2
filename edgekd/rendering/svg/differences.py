"""Differences from zero with their intervals: gain by seed, by fold, by class, by way to teach."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edgekd.figures import Number
from edgekd.rendering.svg.drawing import (
    AXIS_HEIGHT,
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
)
from edgekd.rendering.text import clean

ROW, BAR = 21.0, 10.0
NARROWEST, WIDEST = 60.0, 170.0  # of the column of names


@dataclass(frozen=True)
class Difference:
    """One row, in per cent points. `total` sets a row that sums up the others apart."""

    name: str
    points: float
    low: float | None = None
    high: float | None = None
    total: bool = False

    @property
    def kind(self) -> str:
        """Gain or loss, and unsure where the interval holds zero or there is none."""
        sure = self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)
        return ("gain" if self.points >= 0 else "loss") + ("" if sure else " unsure")

    @property
    def said(self) -> str:
        """The row in words."""
        known = "" if self.low is None or self.high is None else f" [{self.low:+.2f}, {self.high:+.2f}]"
        return f"{clean(self.name, longest=30)} {self.points:+.2f}{known}"


def difference_of(name: str, number: Number, *, total: bool = False) -> Difference:
    """A row for a difference of scores, 0 to 1."""
    low, high = (None if bound is None else 100 * bound for bound in (number.low, number.high))
    return Difference(name, 100 * number.value, low, high, total)


def differences(title: str, rows: Sequence[Difference], *, label: str) -> Markup:
    """Draw one bar from zero per row; a pale one may as well be chance. "" without rows."""
    if not rows:
        return Markup("")
    low, high = span([0.0, *(at for row in rows for at in (row.points, row.low, row.high) if at is not None)])
    longest = max(text_width(clean(row.name)) for row in rows)
    scale = Scale(low, high, min(WIDEST, max(NARROWEST, longest)) + 12, WIDTH - RIGHT)
    bottom = TOP + ROW * len(rows)
    return drawing(
        title,
        f"{'; '.join(row.said for row in rows)} points.",
        x_axis(scale, label, top=TOP, bottom=bottom),
        tag("line", x1=scale(0), x2=scale(0), y1=TOP, y2=bottom, class_="zero"),
        *(_row(row, scale, TOP + ROW * (index + 0.5)) for index, row in enumerate(rows)),
        height=bottom + AXIS_HEIGHT,
    )


def _row(row: Difference, scale: Scale, y: float) -> Markup:
    left, right = sorted((scale(0), scale(row.points)))
    parts = [
        tag("text", fit(row.name, scale.start - 12), x=scale.start - 8, y=y + 4, text_anchor="end", class_="name"),
        tag("rect", x=left, y=y - BAR / 2, width=max(1.0, right - left), height=BAR, class_=f"bar {row.kind} measured"),
    ]
    if row.low is not None and row.high is not None:
        parts.append(tag("line", x1=scale(row.low), x2=scale(row.high), y1=y, y2=y, class_="whisker strong"))
    return tag("g", *parts, class_="total" if row.total else "row")
