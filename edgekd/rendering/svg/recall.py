"""Recall, or another share, of each class before and after, as a dumbbell: where the small model gained and lost."""

from collections.abc import Sequence

from markupsafe import Markup

from edgekd.rendering.outline import ClassRecall
from edgekd.rendering.svg.drawing import AXIS_HEIGHT, RIGHT, TOP, WIDTH, Scale, drawing, fit, span, tag, x_axis
from edgekd.rendering.text import clean

ROW, NAMES = 21.0, 118.0


def recall_by_class(rows: Sequence[ClassRecall], name: str = "recall", *, said: str = "teacher to shipped") -> Markup:
    """Draw one row per class: a ring for the teacher, a dot for what shipped; "" without classes."""
    if not rows:
        return Markup("")
    low, high = span([100 * value for row in rows for value in (row.teacher, row.shipped)])
    x = Scale(max(0.0, low), min(high, 100.5), NAMES, WIDTH - RIGHT)
    bottom = TOP + ROW * len(rows)
    changes = "; ".join(
        f"{clean(row.name, longest=30)} {100 * row.teacher:.1f} to {100 * row.shipped:.1f} %" for row in rows
    )
    return drawing(
        f"{name.capitalize()} by class, {said}",
        changes,
        x_axis(x, f"{name} (%)", top=TOP, bottom=bottom),
        *(_row(row, x, TOP + ROW * (index + 0.5)) for index, row in enumerate(rows)),
        height=bottom + AXIS_HEIGHT,
    )


def _row(row: ClassRecall, x: Scale, y: float) -> Markup:
    before, after = x(100 * row.teacher), x(100 * row.shipped)
    change = "gain" if row.shipped >= row.teacher else "loss"
    return tag(
        "g",
        tag("text", fit(row.name, NAMES - 8), x=NAMES - 8, y=y + 4, text_anchor="end", class_="name"),
        tag("line", x1=before, x2=after, y1=y, y2=y, class_=f"change {change}"),
        tag("circle", cx=before, cy=y, r=4, class_="ring teacher"),
        tag("circle", cx=after, cy=y, r=4.5, class_="dot shipped"),
    )
