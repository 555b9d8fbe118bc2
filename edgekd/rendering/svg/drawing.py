"""What every plot is drawn with: escaped SVG elements, a linear scale, round ticks, labelled axes.

Plots are `WIDTH` user units wide, which is about the width of a phone, so their text stays readable there; colours come
from the page's style sheet by class, so that one drawing serves light and dark.
"""

import math
import unicodedata
from dataclasses import dataclass

from markupsafe import Markup, escape

from edgekd.rendering.text import clean

WIDTH = 400.0
LEFT, RIGHT, TOP = 54.0, 24.0, 14.0
AXIS_HEIGHT = 44.0


@dataclass(frozen=True)
class Scale:
    """Maps values `low`..`high` onto user units `start`..`end`, linearly."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Position of a value; values outside land on the nearer end."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)


def tag(name: str, *children: str, **attributes: str | float) -> Markup:
    """One element. Children and attributes are escaped unless they are Markup; `class_` is `class`, `_` is `-`."""
    pairs = (
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _attribute(value))
        for key, value in attributes.items()
    )
    inner = Markup("").join(escape(child) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), Markup("").join(pairs), inner)


def drawing(title: str, description: str, *parts: str, height: float) -> Markup:
    """A whole plot. The title and description are what a screen reader says."""
    return tag(
        "svg",
        tag("title", title),
        tag("desc", description),
        *parts,
        viewBox=f"0 0 {WIDTH:g} {height:g}",
        role="img",
        class_="plot",
    )


def fit(text: object, width: float) -> str:
    """Clean a foreign name and shorten it until it surely fits into `width` user units."""
    shown = clean(text)
    if text_width(shown) <= width:
        return shown
    while shown and text_width(shown + "…") > width:
        shown = shown[:-1]
    return shown + "…"


def text_width(text: str) -> float:
    """Width of a text in user units, on the safe side: plots are drawn without knowing the reader's font."""
    return sum(map(_letter, text))


def ticks(low: float, high: float, *, about: int = 5) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten) that lie between low and high, at most 2 more than `about`."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.8)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def span(values: list[float], *, padding: float = 0.08) -> tuple[float, float]:
    """Lowest and highest value with some air around; never empty."""
    low, high = min(values), max(values)
    air = (high - low) * padding or abs(high) * padding or 1.0
    return low - air, high + air


def x_axis(scale: Scale, label: str, *, top: float, bottom: float, about: int = 5) -> Markup:
    """Ticks, grid lines from `top` to `bottom`, and a label that ends in the unit."""
    marks = ticks(scale.low, scale.high, about=about)
    parts = []
    for value in marks:
        x = scale(value)
        parts.append(tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
        parts.append(tag("text", _tick_text(value, marks), x=x, y=bottom + 16, text_anchor="middle", class_="tick"))
    middle = (scale.start + scale.end) / 2
    base = tag("line", x1=scale.start, x2=scale.end, y1=bottom, y2=bottom, class_="axis")
    name = tag("text", label, x=middle, y=bottom + 35, text_anchor="middle", class_="label x-label")
    return tag("g", *parts, base, name)


def y_axis(scale: Scale, label: str, *, left: float, right: float) -> Markup:
    """Ticks, grid lines from `left` to `right`, and an upright label that ends in the unit."""
    marks = ticks(scale.low, scale.high)
    parts = []
    for value in marks:
        y = scale(value)
        parts.append(tag("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", _tick_text(value, marks), x=left - 6, y=y + 4, text_anchor="end", class_="tick"))
    middle = (scale.start + scale.end) / 2
    turned = f"rotate(-90 12 {middle:.1f})"
    name = tag("text", label, x=12, y=middle, text_anchor="middle", transform=turned, class_="label y-label")
    return tag("g", *parts, name)


def _tick_text(value: float, marks: list[float]) -> str:
    step = marks[1] - marks[0] if len(marks) > 1 else abs(value) or 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{decimals}f}" if abs(value) > step / 2 else "0"


def _letter(char: str) -> float:
    if unicodedata.east_asian_width(char) in "WF" or char in "MW@%\ufffd":
        return 14.0
    return 9.6 if char.isupper() or char in "mw&<>" else 7.8


def _attribute(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
