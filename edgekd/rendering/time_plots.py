"""The plots of where time and memory go, here and on other devices; what there are no figures for is left out."""

import math

from edgekd.rendering.outline import operator_word
from edgekd.rendering.plots import Plot
from edgekd.rendering.svg.bars import Bar, bars
from edgekd.rendering.svg.course import Course, latency_course
from edgekd.rendering.svg.devices import Device, devices_side_by_side
from edgekd.rendering.svg.histogram import latency_histogram
from edgekd.rendering.text import axis_unit, clean, quantity
from edgekd.results import Report


def resource_plots(report: Report) -> list[Plot]:
    """Time by operator, single runs, how they went over time, and memory."""
    made = (operator_plot(report), histogram_plot(report), course_plot(report), memory_plot(report))
    return [plot for plot in made if plot is not None]


def operator_plot(report: Report) -> Plot | None:
    """Estimated or emulated time by operator class."""
    word = operator_word(report)
    if not report.latency_by_operator:
        return None
    by_time = sorted(report.latency_by_operator.items(), key=lambda item: -item[1])
    total = sum(report.latency_by_operator.values())
    rows = [Bar(name, ms, f"{quantity(ms, 'ms')} · {_share(ms, total)}", word) for name, ms in by_time[:12]]
    drawn = bars("Time by operator", rows, label=f"time on {clean(report.target, longest=24)}, {word} (ms)")
    rest = sum(ms for _, ms in by_time[12:])
    caption = f"{word.capitalize()} for {clean(report.target)}, summed over all operators of a kind."
    if rest:
        caption += f" {len(by_time) - 12} more kinds take {quantity(rest, 'ms')} together."
    return Plot("Where the time goes", drawn, caption)


def histogram_plot(report: Report) -> Plot | None:
    """Single runs of the shipped model on the machine that timed it."""
    shipped = report.models.get("shipped")
    if shipped is None or shipped.host is None or not shipped.host.samples_ms:
        return None
    host = shipped.host
    drawn = latency_histogram(host.samples_ms, place=host.place)
    caption = f"{len(host.samples_ms)} runs measured on {clean(host.place)} in one fresh process, after warm-up."
    if host.place != report.target:
        caption += f" They say little about {clean(report.target)}."
    return Plot("Latency of single runs", drawn, caption)


def course_plot(report: Report) -> Plot | None:
    """How latency went while it was measured, with what can be read of clock and temperature."""
    shipped = report.models.get("shipped")
    if shipped is None or shipped.host is None:
        return None
    host = shipped.host
    conditions, runs = host.environment.get("conditions"), host.environment.get("runs")
    course = Course(
        samples_ms=tuple(ms for ms in host.samples_ms if math.isfinite(ms)),
        runs=runs if isinstance(runs, int) else len(host.samples_ms),
        conditions=tuple(_numbers(one) for one in conditions) if isinstance(conditions, list) else (),
        place=host.place,
    )
    drawn = latency_course(course)
    if not drawn:
        return None
    caption = (
        "Line: median. Band: from the 10th to the 90th percentile. Dots: the slowest run of each stretch, at the upper "
        "edge where it would not fit."
    )
    if not any({"clock_mhz", "temperature_c"} & set(one) for one in course.conditions):
        caption += " Neither clock nor temperature can be read there."
    if course.throttled:
        caption += " Shaded: the board throttled itself."
    return Plot("Latency over time", drawn, caption)


def devices_plot(report: Report) -> Plot | None:
    """What ships on every device that can be estimated."""
    rows = [
        Device(one.target, one.latency_ms, one.target == report.target)
        for one in report.devices
        if one.latency_ms is not None and 0 < one.latency_ms.value < math.inf
    ]
    if len(rows) < 2:
        return None
    budget = next((b.limit for b in report.budgets if b.metric == "latency" and b.limit > 0), None)
    caption = "The same file on other devices, each with its own number of threads; the axis is logarithmic."
    if budget is not None:
        caption += f" Dotted: the budget of {quantity(budget, 'ms')}."
    left_out = len(report.devices) - len(rows)
    if left_out:
        caption += f" Cannot be estimated: {left_out} of {len(report.devices)}."
    return Plot("Devices side by side", devices_side_by_side(rows, budget=budget), caption)


def memory_plot(report: Report) -> Plot | None:
    """Peak resident set at four moments."""
    shipped = report.models.get("shipped")
    if shipped is None or shipped.host is None:
        return None
    memory, place = shipped.host.memory, clean(shipped.host.place)
    moments = {"after import of the runtime": memory.import_kib, "after load": memory.load_kib}
    moments |= {"after the first run": memory.first_kib, "steady state": memory.steady_kib}
    size, unit = axis_unit(max(moments.values()), "KiB")
    rows = [Bar(name, kib / size, quantity(kib, "KiB"), "measured", "shipped") for name, kib in moments.items()]
    drawn = bars("Peak memory", rows, label=f"peak resident set, measured on {place} ({unit})")
    return Plot("Memory", drawn, "A fresh process that holds only the runtime and the model.")


def _numbers(condition: object) -> dict[str, float]:
    """The readings among what a file holds for a moment's conditions."""
    pairs = condition.items() if isinstance(condition, dict) else ()
    return {str(key): float(value) for key, value in pairs if isinstance(value, (int, float)) and math.isfinite(value)}


def _share(part: float, whole: float) -> str:
    share = 100 * part / whole if whole else 0.0
    return f"{share:.0f} %" if share >= 1 else "under 1 %"
