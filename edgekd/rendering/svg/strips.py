"""Every single score beside its mean: one strip of dots for each model, over seeds or folds."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edgekd.figures import Number
from edgekd.rendering.svg.drawing import AXIS_HEIGHT, RIGHT, TOP, WIDTH, Scale, drawing, span, tag, x_axis
from edgekd.rendering.text import clean

ROW = 40.0


@dataclass(frozen=True)
class Strip:
    """Scores, 0 to 1, of one model; `kind` is the class that colours it, `text` the mean as written beside the name."""

    name: str
    kind: str
    scores: tuple[float, ...]
    mean: Number
    text: str


def strips(title: str, rows: Sequence[Strip], *, label: str) -> Markup:
    """Draw a dot per score, the mean as a tick and its interval as a line; `label` names the axis and its unit."""
    if not rows:
        return Markup("")
    bounds = [bound for row in rows for bound in (row.mean.low, row.mean.high) if bound is not None]
    low, high = span([100 * value for value in (*bounds, *(score for row in rows for score in row.scores))])
    scale = Scale(max(0.0, low), min(100.5, high), 8.0, WIDTH - RIGHT)
    bottom = TOP + ROW * len(rows)
    said = "; ".join(
        f"{clean(row.name)} {row.text}, single scores {', '.join(f'{100 * score:.2f}' for score in row.scores)} %"
        for row in rows
    )
    return drawing(
        title,
        said,
        x_axis(scale, label, top=TOP, bottom=bottom),
        *(_row(row, scale, TOP + ROW * index) for index, row in enumerate(rows)),
        height=bottom + AXIS_HEIGHT,
    )


def _row(row: Strip, scale: Scale, top: float) -> Markup:
    y, at = top + 25, scale(100 * row.mean.value)
    parts = [
        tag("text", row.name, x=scale.start, y=top + 12, class_="name"),
        tag("text", row.text, x=scale.end, y=top + 12, text_anchor="end", class_="value"),
    ]
    if row.mean.low is not None and row.mean.high is not None:
        low, high = scale(100 * row.mean.low), scale(100 * row.mean.high)
        parts.append(tag("line", x1=low, x2=high, y1=y, y2=y, class_=f"change span {row.kind}"))
    parts.append(tag("line", x1=at, x2=at, y1=y - 7, y2=y + 7, class_=f"mean {row.kind}"))
    parts += [tag("circle", cx=scale(100 * score), cy=y, r=4, class_=f"ring {row.kind}") for score in row.scores]
    return tag("g", *parts)
