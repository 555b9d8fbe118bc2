"""Figures and hostile names as text: the one place that rounds, picks a unit, and makes a foreign string printable."""

import math
import unicodedata
from typing import Literal

from edgekd.figures import Number
from edgekd.gate_result import ComparisonVerdict, GateVerdict
from edgekd.results import BudgetOutcome
from edgekd.units import KIBIBYTES, MILLISECONDS

MISSING = "\u2013"
LONGEST_NAME = 80

VERDICT_WORDS: dict[GateVerdict | ComparisonVerdict, str] = {
    "pass": "Pass",
    "missed": "Missed",
    "regression": "Regression",
    "improvement": "Improvement",
    "inconclusive": "Inconclusive",
}
METRIC_TITLES = {
    "latency": "Latency, p95",
    "latency_p50": "Latency, p50",
    "latency_p99": "Latency, p99",
    "memory": "Peak memory",
    "size": "File size",
    "load": "Load time",
    "drop": "Drop of score",
}
FIGURE_TITLES = {
    "score": "Score",
    "drop": "Drop of score",
    "size_kib": "File size",
    "macs": "MACs",
    "params": "Parameters",
    "latency_p50_ms": "Latency p50",
    "latency_p95_ms": "Latency p95",
    "peak_memory_kib": "Peak memory",
    "cpu_ms": "CPU time where it was made",
    "host_p50_ms": "Latency p50 where it was made",
}
"""What results.json calls the figures of a model, and two that were measured where the run was made."""
COMPARISON_TITLES = {
    "time": "Time here, CPU",
    "instructions": "Instructions",
    "score": "Score",
    "size": "File size",
    "macs": "MACs",
    "arena": "Peak of activations",
    "memory": "Peak memory",
    "latency": "Latency",
    "conversions": "Quantize and dequantize left",
    "operators": "Operators executed",
}
"""What a build is compared with its baseline in."""
MODEL_TITLES: dict[Literal["teacher", "control", "student", "shipped"], str] = {
    "teacher": "Teacher",
    "control": "Student alone (control)",
    "student": "Distilled student",
    "shipped": "Shipped",
}

USUAL_LEVEL = 0.9
BRACKETS = "Brackets hold 90 % intervals, unless another level is given."
"""For wherever figures are shown: what `interval` writes."""

_MOST_DECIMALS = 6
_STEPS = {
    "ms": ((1e3, "s"), (1.0, "ms"), (1e-3, "µs")),
    "KiB": ((1024.0**2, "GiB"), (1024.0, "MiB"), (1.0, "KiB")),
    "KB": tuple((KIBIBYTES[unit], unit) for unit in ("GB", "MB", "KB")),
    "count": ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")),
    "score": ((0.01, "%"),),
    "fraction": ((0.01, "points"),),
    "share": ((0.01, "%"),),
}


def clean(text: object, *, longest: int = LONGEST_NAME) -> str:
    """Make any foreign string one short printable line.

    Control, format (also right-to-left overrides), surrogate and unassigned characters become U+FFFD, which XML and
    terminals take; every run of white space becomes one space; more than `longest` characters end in an ellipsis.
    `##[`, which GitHub's runner obeys anywhere in a line of output, is parted.
    """
    whole = str(text).replace("##[", "## [")
    head = " ".join(whole[: 4 * longest].split())
    shown = "".join("\ufffd" if unicodedata.category(char) in _UNPRINTABLE else char for char in head)
    return shown if len(shown) <= longest and len(whole) <= 4 * longest else shown[: longest - 1] + "…"


def titled(name: str) -> str:
    """A name with a capital first letter; one that has capitals of its own, such as mAP50, as it is."""
    return name.capitalize() if name.islower() else name


def quantity(value: float | None, unit: str) -> str:
    """Write a figure with three significant digits and its unit, as in "27.4 ms"; `unit` as `Number.unit` has it.

    Scores (`score`) are written in per cent with two decimals, drops (`fraction`) in points, a `share` in per cent.
    """
    if value is None:
        return MISSING
    size, shown, decimals = _scale(value, unit)
    return _joined(f"{value / size:.{decimals}f}", shown)


def interval(number: Number | None, unit: str | None = None) -> str:
    """Write low and high in the unit and digits of the value, as in "[27.1, 27.7]"; "" without an interval.

    An exact figure, whose bounds are its value, has none to show. A level other than 90 % follows: "[0.51, 0.53] at
    99 %".
    """
    if number is None or number.low is None or number.high is None or number.low == number.high:
        return ""
    size, _, decimals = _scale(number.value, unit or number.unit)
    level = "" if number.level == USUAL_LEVEL else f" at {_joined(f'{100 * number.level:g}', '%')}"
    return f"[{number.low / size:.{decimals}f}, {number.high / size:.{decimals}f}]{level}"


def figure(number: Number | None, unit: str | None = None) -> str:
    """Write a figure with its interval, as in "27.4 ms [27.1, 27.7]", where its word and place stand elsewhere."""
    if number is None:
        return MISSING
    return " ".join(part for part in (quantity(number.value, unit or number.unit), interval(number, unit)) if part)


def spoken(number: Number | None, unit: str | None = None) -> str:
    """Write a figure whole: "27.4 ms [27.1, 27.7] measured on host"."""
    if number is None:
        return MISSING
    return " ".join(part for part in (figure(number, unit), number.word, where(number)) if part)


def where(number: Number) -> str:
    """Say where a figure was taken: "on host", or "for raspberry-pi-5" where it is only an estimate."""
    if not number.place or number.place == "file":
        return ""
    return f"{'for' if number.word == 'estimated' else 'on'} {clean(number.place, longest=40)}"


def axis_unit(highest: float, unit: str) -> tuple[float, str]:
    """Divisor and name of the unit in which an axis up to `highest` is best labelled."""
    size, shown, _ = _scale(highest, unit)
    return size, shown


def count(value: float | None, noun: str = "") -> str:
    """Write a large count, as in "125 M MACs"."""
    if value is None:
        return MISSING
    return f"{quantity(value, 'count')}{' ' + noun if noun else ''}"


def limit(outcome: BudgetOutcome) -> str:
    """Write the limit of a budget in the unit that the user gave it in, as in "at most 30 ms"."""
    factor = (MILLISECONDS | KIBIBYTES).get(outcome.given_in or "")
    size, shown = (factor, outcome.given_in or "") if factor else _scale(outcome.limit, outcome.unit)[:2]
    number = f"{outcome.limit / size:.6g}"
    return f"at most {_joined(number, 'point' if (number, shown) == ('1', 'points') else shown)}"


def actual(outcome: BudgetOutcome) -> str:
    """Write the figure that a budget is held against, as in "150.4 KiB": with as many decimals as tell it from the
    limit, and in units of 1000 where the limit is."""
    if outcome.actual is None:
        return MISSING
    value = outcome.actual.value
    size, shown, decimals = _scale(value, _unit_of(outcome, outcome.actual))
    while decimals < _MOST_DECIMALS and (round(value / size, decimals) > outcome.limit / size) != (
        value > outcome.limit
    ):
        decimals += 1
    return _joined(f"{value / size:.{decimals}f}", shown)


def actual_interval(outcome: BudgetOutcome) -> str:
    """Write the interval of that figure in the same unit."""
    return interval(outcome.actual, _unit_of(outcome, outcome.actual)) if outcome.actual else ""


def spoken_actual(outcome: BudgetOutcome) -> str:
    """Write that figure whole: "150.4 KiB measured"."""
    number = outcome.actual
    if number is None:
        return "not known"
    parts = (actual(outcome), actual_interval(outcome), number.word, where(number))
    return " ".join(part for part in parts if part)


def _scale(value: float, unit: str) -> tuple[float, str, int]:
    """Return the divisor, the unit as shown, and how many decimals three significant digits need."""
    steps = _STEPS.get(unit, ((1.0, "" if unit == "1" else clean(unit, longest=12)),))
    magnitude = abs(value) if math.isfinite(value) else 0.0
    if unit in ("score", "fraction"):
        return *steps[0], 2
    base = next((step for step in steps if step[0] == 1.0), steps[0])
    size, shown = next((step for step in steps if magnitude >= step[0]), steps[-1]) if magnitude else base
    scaled = magnitude / size
    if unit == "count" and size == 1.0 and scaled.is_integer():
        return size, shown, 0
    return size, shown, 0 if scaled == 0 else max(0, min(3, 2 - math.floor(math.log10(scaled))))


def _unit_of(outcome: BudgetOutcome, number: Number) -> str:
    return "KB" if outcome.given_in in ("KB", "MB", "GB") else number.unit


def _joined(number: str, unit: str) -> str:
    return f"{number} {unit}" if unit else number


_UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Cn")
