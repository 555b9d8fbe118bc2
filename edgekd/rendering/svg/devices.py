"""One model on many devices: latencies with their intervals on a logarithmic axis, since devices lie decades apart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edgekd.figures import Number
from edgekd.rendering.svg.drawing import AXIS_HEIGHT, TOP, WIDTH, Scale, drawing, fit, tag
from edgekd.rendering.text import clean, quantity

ROW, NAMES, VALUES = 21.0, 176.0, 64.0
MOST_TICKS = 5


@dataclass(frozen=True)
class Device:
    """A device by name with its latency in ms; `target` is the one that the run was made for."""

    name: str
    latency: Number
    target: bool


def devices_side_by_side(rows: Sequence[Device], *, budget: float | None = None) -> Markup:
    """Draw one row per device, the fastest first, and the limit in ms as a line; "" without devices."""
    if not rows:
        return Markup("")
    rows = sorted(rows, key=lambda row: row.latency.value)
    ends = [end for row in rows for end in (row.latency.low, row.latency.value, row.latency.high) if end]
    low, high = min([*ends, budget or math.inf]), max([*ends, budget or 0.0])
    x = Scale(math.log10(low) - 0.05, math.log10(high) + 0.05, NAMES, WIDTH - VALUES)
    bottom = TOP + ROW * len(rows)
    said = "; ".join(f"{clean(row.name, longest=40)} {quantity(row.latency.value, 'ms')}" for row in rows)
    words = " and ".join(dict.fromkeys(row.latency.word for row in rows))
    middle = (x.start + x.end) / 2
    return drawing(
        "Latency on other devices",
        said,
        *(_tick(value, x, bottom) for value in log_ticks(low, high)),
        tag("text", f"latency, {words} (ms)", x=middle, y=bottom + 35, text_anchor="middle", class_="label x-label"),
        _budget(budget, x, bottom),
        *(_row(row, x, TOP + ROW * (index + 0.5)) for index, row in enumerate(rows)),
        height=bottom + AXIS_HEIGHT,
    )


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten between low and high, with their doubles and fives where there is room for those."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [f * 10.0**d for d in decades for f in factors if low * 0.99 <= f * 10.0**d <= high * 1.01]
        if len(found) <= MOST_TICKS:
            break
    return found[:: -(-len(found) // MOST_TICKS)] if found else [low, high]


def _tick(value: float, x: Scale, bottom: float) -> Markup:
    at = x(math.log10(value))
    line = tag("line", x1=at, x2=at, y1=TOP, y2=bottom, class_="grid")
    return line + tag("text", f"{value:.3g}", x=at, y=bottom + 16, text_anchor="middle", class_="tick")


def _budget(budget: float | None, x: Scale, bottom: float) -> Markup:
    if not budget:
        return Markup("")
    at = x(math.log10(budget))
    return tag("line", x1=at, x2=at, y1=TOP, y2=bottom, class_="budget")


def _row(row: Device, x: Scale, y: float) -> Markup:
    kind = "shipped" if row.target else "plain"
    at = x(math.log10(row.latency.value))
    parts = [
        tag("text", fit(row.name, NAMES - 8), x=NAMES - 8, y=y + 4, text_anchor="end", class_=f"point-name {kind}")
    ]
    if row.latency.low and row.latency.high:
        low, high = x(math.log10(row.latency.low)), x(math.log10(row.latency.high))
        parts.append(tag("line", x1=low, x2=high, y1=y, y2=y, class_="whisker strong"))
    style = f"marker {kind} {row.latency.word}"
    parts.append(tag("circle", cx=at, cy=y, r=4, class_=style))
    text = quantity(row.latency.value, "ms")
    parts.append(tag("text", text, x=WIDTH - 2, y=y + 4, text_anchor="end", class_="value"))
    return tag("g", *parts)
