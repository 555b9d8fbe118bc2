"""Which classes are taken for which: a matrix of counts, rows the truth and columns the answer."""

from collections.abc import Sequence

from markupsafe import Markup

from edgekd.rendering.svg.drawing import WIDTH, drawing, fit, tag
from edgekd.rendering.text import clean

NAMES, TOP = 92.0, 22.0
WRITTEN_UP_TO = 12
"""Classes up to which the counts find room in their cells."""
DARKEST = 0.45  # more would leave the counts too little contrast


def confusion_matrix(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> Markup:
    """Draw counts (classes, classes) of test samples; "" without classes. Mistakes are shaded by their share of the
    class's samples, the most frequent darkest."""
    if not classes:
        return Markup("")
    size = (WIDTH - NAMES - 4) / len(classes)
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    top = max((s for i, row in enumerate(shares) for j, s in enumerate(row) if i != j), default=0.0) or 1.0
    bottom = TOP + size * len(classes)
    pairs = sorted(
        ((row[j], i, j) for i, row in enumerate(counts) for j in range(len(row)) if i != j and row[j]), reverse=True
    )
    said = "; ".join(f"{clean(classes[i])} taken for {clean(classes[j])} {count} times" for count, i, j in pairs[:8])
    parts = []
    for i, name in enumerate(classes):
        y = TOP + size * i
        parts.append(
            tag("text", fit(name, NAMES - 8), x=NAMES - 8, y=y + size / 2 + 4, text_anchor="end", class_="name")
        )
        at = NAMES + size * (i + 0.5) + 4
        turned = f"rotate(-90 {at:.1f} {bottom + 6:.1f})"
        parts.append(
            tag("text", fit(name, NAMES - 8), x=at, y=bottom + 6, text_anchor="end", transform=turned, class_="name")
        )
        for j, count in enumerate(counts[i]):
            parts.append(_cell(count, i == j, shares[i][j] / top, (NAMES + size * j, y, size), len(classes)))
    return drawing(
        "Confusion of classes",
        f"Most frequent mistakes: {said or 'none'}.",
        tag("text", "answered (count)", x=(NAMES + WIDTH) / 2, y=12, text_anchor="middle", class_="label"),
        tag("text", "true class", x=4, y=12, class_="label-plain tick"),
        *parts,
        height=bottom + NAMES,
    )


def _cell(count: int, hit: bool, share: float, box: tuple[float, float, float], classes: int) -> Markup:
    x, y, size = box
    style = "hit" if hit else "miss"
    shade = 0.14 if hit else DARKEST * min(1.0, share)
    parts = [
        tag("rect", x=x, y=y, width=size - 1, height=size - 1, fill_opacity=f"{shade:.2f}", class_=f"cell {style}")
    ]
    if count and classes <= WRITTEN_UP_TO:
        middle = {"x": x + size / 2, "y": y + size / 2 + 4}
        parts.append(tag("text", str(count), **middle, text_anchor="middle", class_="count"))
    return tag("g", *parts)
