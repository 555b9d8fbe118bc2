"""How single runs of the shipped model were spread on the machine that timed them."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from edgekd.rendering.svg.drawing import AXIS_HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, drawing, tag, x_axis, y_axis
from edgekd.rendering.text import clean

BOTTOM = 200.0
BINS = 36
TAIL = 4.0  # runs slower than p50 by more than this times p95 - p50 are counted in words: they would squeeze the rest


def latency_histogram(samples_ms: Sequence[float], *, place: str) -> Markup:
    """Draw runs by latency in ms, with p50 and p95 marked; "" without samples.

    Stray slow runs, at most 5 %, are left out of the picture and counted in it.
    """
    samples = np.sort(np.asarray([s for s in samples_ms if np.isfinite(s)], np.float64))
    if samples.size == 0:
        return Markup("")
    p50, p95 = (float(p) for p in np.percentile(samples, [50, 95]))
    shown = samples[samples <= p50 + max(TAIL * (p95 - p50), 0.05 * p50)]
    low, high = float(shown[0]), float(shown[-1])
    if low == high:
        low, high = low * 0.95, high * 1.05 or 1.0
    counts, edges = np.histogram(shown, bins=min(BINS, max(5, shown.size // 8)), range=(low, high))
    x = Scale(low, high, LEFT, WIDTH - RIGHT)
    y = Scale(0.0, float(counts.max()) * 1.18, BOTTOM, TOP)
    hidden = samples.size - shown.size
    tail = f"{hidden} slower, up to {samples[-1]:.3g} ms" if hidden else ""
    name = clean(place, longest=24)
    return drawing(
        f"Latency measured on {name}",
        f"{samples.size} runs; half are under {p50:.3g} ms, 95 % under {p95:.3g} ms; {tail or 'all are shown'}.",
        x_axis(x, f"latency of one run, measured on {name} (ms)", top=TOP, bottom=BOTTOM),
        y_axis(y, "number of runs (count)", left=LEFT, right=WIDTH - RIGHT),
        *(_bin(int(n), (float(a), float(b)), x, y) for n, a, b in zip(counts, edges[:-1], edges[1:], strict=True)),
        _mark("p50", p50, x, TOP + 9),
        _mark("p95", p95, x, TOP + 23),
        tag("text", tail, x=WIDTH - RIGHT, y=TOP + 40, text_anchor="end", class_="tick mark-name"),
        height=BOTTOM + AXIS_HEIGHT,
    )


def _bin(count: int, edges: tuple[float, float], x: Scale, y: Scale) -> Markup:
    left, right = x(edges[0]), x(edges[1])
    return tag(
        "rect",
        x=left,
        y=y(count),
        width=max(0.5, right - left - 1),
        height=BOTTOM - y(count),
        class_="bar shipped measured",
    )


def _mark(name: str, value: float, x: Scale, y: float) -> Markup:
    at = x(value)
    late = at > WIDTH - RIGHT - 40
    label = tag(
        "text", name, x=at - 4 if late else at + 4, y=y, text_anchor="end" if late else "start", class_="mark-name"
    )
    return tag("line", x1=at, x2=at, y1=TOP, y2=BOTTOM, class_="mark") + label
