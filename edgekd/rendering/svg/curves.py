"""Validation score over training, of the distilled student and of the same student trained alone."""

from collections.abc import Mapping

from markupsafe import Markup

from edgekd.rendering.svg.drawing import AXIS_HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, drawing, span, tag, x_axis, y_axis
from edgekd.rendering.text import clean
from edgekd.results import Curve

BOTTOM = 216.0
NAMES = {"student": "distilled student", "control": "student alone"}


def training_curves(curves: Mapping[str, Curve], *, score: str) -> Markup:
    """Draw validation score (0 to 1, as per cent) against training step; "" where no curve has a point."""
    drawn = {name: curve for name, curve in curves.items() if curve.steps and len(curve.steps) == len(curve.scores)}
    if not drawn:
        return Markup("")
    last_step = max(curve.steps[-1] for curve in drawn.values())
    x = Scale(0.0, max(1.0, float(last_step)), LEFT, WIDTH - RIGHT)
    low, high = span([100 * value for curve in drawn.values() for value in curve.scores])
    y = Scale(max(0.0, low), min(100.5, high), BOTTOM, TOP)
    said = "; ".join(f"{NAMES.get(name, clean(name))} ends at {100 * c.scores[-1]:.2f} %" for name, c in drawn.items())
    return drawing(
        "Validation score over training",
        said,
        x_axis(x, "training step (steps)", top=TOP, bottom=BOTTOM),
        y_axis(y, f"validation {clean(score, longest=24)} (%)", left=LEFT, right=WIDTH - RIGHT),
        *(_line(name, curve, x, y) for name, curve in drawn.items()),
        _key(list(drawn)),
        height=BOTTOM + AXIS_HEIGHT,
    )


def _line(name: str, curve: Curve, x: Scale, y: Scale) -> Markup:
    points = [(x(step), y(100 * value)) for step, value in zip(curve.steps, curve.scores, strict=True)]
    kind = name if name in NAMES else "plain"
    end = tag("circle", cx=points[-1][0], cy=points[-1][1], r=3.5, class_=f"dot {kind}")
    return tag("polyline", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in points), class_=f"curve {kind}") + end


def _key(names: list[str]) -> Markup:
    """Name the lines in the lower right, where curves that rise leave room."""
    parts = []
    for index, name in enumerate(reversed(names)):
        y = BOTTOM - 12 - 18 * index
        kind = name if name in NAMES else "plain"
        parts.append(tag("line", x1=WIDTH - 160, x2=WIDTH - 136, y1=y - 4, y2=y - 4, class_=f"curve {kind}"))
        parts.append(tag("text", NAMES.get(name, clean(name, longest=18)), x=WIDTH - 130, y=y, class_="name"))
    return tag("g", *parts)
