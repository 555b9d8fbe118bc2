"""How latency went while it was measured, above the clock and the temperature of the machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from edgekd.rendering.svg.drawing import AXIS_HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, drawing, span, tag, x_axis, y_axis
from edgekd.rendering.text import clean

BOTTOM, PANEL, GAP = 170.0, 34.0, 26.0
STRETCHES = 60
THROTTLED_NOW = 0xF
"""Bits of a Raspberry Pi's get_throttled that are the present, as `edgekd.places.environment` has them."""
SENSORS = {"clock_mhz": "highest clock (MHz)", "temperature_c": "highest temperature (°C)"}


@dataclass(frozen=True)
class Course:
    """A measurement as it went: latencies in ms in their order, of which every `runs / len(samples_ms)`-th was kept,
    and the machine's state before, every second, and at the end, as far as it can be read."""

    samples_ms: tuple[float, ...]
    runs: int
    conditions: tuple[Mapping[str, float], ...]
    place: str

    @property
    def seconds(self) -> npt.NDArray[np.float64]:
        """When each sample ended, in seconds from the first: that of runs that follow each other closely."""
        every = max(1.0, self.runs / len(self.samples_ms))
        return np.asarray(np.cumsum(self.samples_ms) * every / 1e3)

    @property
    def throttled(self) -> tuple[tuple[float, float], ...]:
        """Stretches of time, in seconds, at whose end the board said that it throttles itself."""
        times = self.moments(len(self.conditions))
        marks = [int(one.get("throttled", 0)) & THROTTLED_NOW for one in self.conditions]
        return tuple((times[max(0, i - 1)], times[i]) for i, mark in enumerate(marks) if mark)

    def moments(self, count: int) -> list[float]:
        """Seconds at which the state was read: once a second, and at the end."""
        end = float(self.seconds[-1])
        return [*(min(float(second), end) for second in range(count - 1)), end]


def latency_course(course: Course) -> Markup:
    """Draw the median and the span of most runs over time, and what can be read of the machine; "" for few samples."""
    if len(course.samples_ms) < 10:
        return Markup("")
    seconds = course.seconds
    x = Scale(0.0, float(seconds[-1]) or 1.0, LEFT, WIDTH - RIGHT)
    stretches = _stretches(course, seconds)
    low, high = span([float(v) for v in np.percentile(course.samples_ms, [1, 97])], padding=0.25)
    y = Scale(max(0.0, low), high, BOTTOM, TOP)
    sensors = [(name, [one[name] for one in course.conditions if name in one]) for name in SENSORS]
    shown = [(name, values) for name, values in sensors if len(values) > 1]
    bottom = BOTTOM + (PANEL + GAP) * len(shown)
    said = "; ".join(f"{SENSORS[name]} {min(values):.0f} to {max(values):.0f}" for name, values in shown)
    medians = stretches[2]
    return drawing(
        "Latency over time",
        f"The median goes between {medians.min():.3g} and {medians.max():.3g} ms. {said}",
        x_axis(x, f"time since the first run on {clean(course.place, longest=24)} (s)", top=TOP, bottom=bottom),
        y_axis(y, "latency (ms)", left=LEFT, right=WIDTH - RIGHT),
        *(
            tag("rect", x=x(start), y=TOP, width=max(1.0, x(end) - x(start)), height=bottom - TOP, class_="throttled")
            for start, end in course.throttled
        ),
        _band(stretches, x, y),
        *(_panel(name, values, course, x, BOTTOM + GAP + (PANEL + GAP) * i) for i, (name, values) in enumerate(shown)),
        height=bottom + AXIS_HEIGHT,
    )


def _stretches(course: Course, seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Middle, 10th, 50th and 90th percentile and the slowest run of equal stretches of samples, (5, stretches)."""
    samples = np.asarray(course.samples_ms, np.float64)
    parts = np.array_split(np.arange(len(samples)), min(STRETCHES, max(2, len(samples) // 10)))
    rows = [[seconds[p].mean(), *np.percentile(samples[p], [10, 50, 90]), samples[p].max()] for p in parts]
    return np.asarray(rows, np.float64).T


def _band(stretches: npt.NDArray[np.float64], x: Scale, y: Scale) -> Markup:
    at = [x(float(second)) for second in stretches[0]]
    low, middle, high, slowest = ([y(float(value)) for value in row] for row in stretches[1:])
    around = [*zip(at, high, strict=True), *reversed([*zip(at, low, strict=True)])]
    return tag(
        "g",
        tag("polygon", points=_path(around), class_="band shipped"),
        tag("polyline", points=_path([*zip(at, middle, strict=True)]), class_="curve shipped"),
        *(tag("circle", cx=a, cy=b, r=1.5, class_="dot plain") for a, b in zip(at, slowest, strict=True)),
    )


def _panel(name: str, values: Sequence[float], course: Course, x: Scale, top: float) -> Markup:
    y = Scale(*span(list(values), padding=0.1), top + PANEL, top)
    points = [(x(second), y(value)) for second, value in zip(course.moments(len(values)), values, strict=True)]
    ends = dict.fromkeys((min(values), max(values)))
    return tag(
        "g",
        tag("text", SENSORS[name], x=LEFT + 2, y=top - 6, class_="name"),
        *(tag("text", f"{v:,.0f}", x=LEFT - 6, y=y(v) + 4, text_anchor="end", class_="tick") for v in ends),
        tag("polyline", points=_path(points), class_="curve plain"),
    )


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
