"""Many runs on one page: for each model and device the trend of every figure, and one table of the runs."""

from collections.abc import Sequence

from edgekd.history import History, HistoryEntry
from edgekd.rendering.columns import column
from edgekd.rendering.outline import file_name
from edgekd.rendering.plots import Plot
from edgekd.rendering.sections import Page, Section
from edgekd.rendering.svg.trend import Step, trend
from edgekd.rendering.tables import Table
from edgekd.rendering.text import FIGURE_TITLES, VERDICT_WORDS, axis_unit, clean, spoken
from edgekd.units import SHARES

DRAWN = ("score", "latency_p95_ms", "size_kib", "peak_memory_kib", "cpu_ms")
_HOW = (
    "In the plots a line joins what was had in the same way on the same place; hollow dots are estimates, and colours "
    "are the verdicts of the runs."
)


def history_page(history: History) -> Page:
    """The page of many runs; models on devices in the order of their last run, the latest first."""
    groups: dict[tuple[str, str], list[HistoryEntry]] = {}
    for entry in history.entries:
        groups.setdefault((file_name(entry.model), entry.target), []).append(entry)
    latest = sorted(groups.items(), key=lambda group: history.entries.index(group[1][-1]), reverse=True)
    last = history.entries[-1]
    left_out = tuple(f"{name}: {why}" for name, why in history.left_out.items())
    sections = [_section(f"group-{i}", *key, entries) for i, (key, entries) in enumerate(latest, start=1)]
    return Page(
        title=f"{len(history.entries)} run{'s' * (len(history.entries) != 1)}",
        stamp=f"latest: {VERDICT_WORDS[last.verdict]}",
        tone=last.verdict,
        headline=f"The latest is {clean(file_name(last.model))} on {clean(last.target)}, finished {_moment(last)}.",
        sections=(*sections, Section("left-out", "Files left out", left_out)),
    )


def _section(anchor: str, model: str, target: str, entries: Sequence[HistoryEntry]) -> Section:
    plots = tuple(plot for plot in (_plot(name, entries) for name in DRAWN) if plot is not None)
    title = f"{clean(model)} on {clean(target)}"
    return Section(anchor, title, (_HOW,) if plots else (), plots=plots, tables=(_table(entries),))


def _plot(name: str, entries: Sequence[HistoryEntry]) -> Plot | None:
    steps = [
        Step(run, entry.figures[name], entry.verdict)
        for run, entry in enumerate(entries, start=1)
        if name in entry.figures
    ]
    if len(steps) < 2:
        return None
    unit = steps[0].number.unit
    size, shown = (SHARES["%"], "%") if unit == "score" else axis_unit(max(step.number.value for step in steps), unit)
    title = FIGURE_TITLES[name]
    words = " and ".join(dict.fromkeys(step.number.word for step in steps))
    drawn = trend(title, steps, label=f"{words} ({shown})", divisor=size)
    return Plot(title, drawn, f"Latest: {spoken(steps[-1].number)}.") if drawn else None


def _table(entries: Sequence[HistoryEntry]) -> Table:
    known = [name for name in DRAWN if any(name in entry.figures for entry in entries)]
    columns = [column(FIGURE_TITLES[name], [entry.figures.get(name) for entry in entries]) for name in known]
    rows = [
        (
            str(index + 1),
            _moment(entry),
            VERDICT_WORDS[entry.verdict],
            entry.shipped,
            *(shown.texts[index] for shown in columns),
            entry.run,
        )
        for index, entry in enumerate(entries)
    ]
    header = ("Run", "Finished", "Verdict", "Shipped", *(shown.head for shown in columns), "File")
    note = (
        "* The time of the file, since the run does not say its own." if any(e.dated_by_file for e in entries) else ""
    )
    return Table("Runs", header, tuple(rows), note)


def _moment(entry: HistoryEntry) -> str:
    return f"{clean(entry.finished)[:16].replace('T', ' ')}{'*' * entry.dated_by_file}"
