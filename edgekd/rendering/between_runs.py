"""Two runs on one page: verdicts, figures with their intervals, budgets, classes, operators, and what was set."""

from collections import Counter

from edgekd.between_runs import BudgetChange, Change, RunsCompared, RunSummary, SettingChange, ValueChange
from edgekd.rendering.columns import column
from edgekd.rendering.outline import ClassRecall, file_name
from edgekd.rendering.plots import Plot
from edgekd.rendering.sections import Page, Section
from edgekd.rendering.svg.recall import recall_by_class
from edgekd.rendering.tables import Table
from edgekd.rendering.text import FIGURE_TITLES, METRIC_TITLES, VERDICT_WORDS, clean, limit, quantity
from edgekd.results import BudgetOutcome

MOST = 15
"""Rows of what changed by class, operator or setting; the rest is in the JSON."""


def between_runs_page(found: RunsCompared) -> Page:
    """The page of two runs, the later one's verdict at its top."""
    before, after = found.before, found.after
    counts = Counter(change.outcome for change in _shown(found))
    said = ", ".join(f"{counts[name]} {name}" for name in ("better", "worse", "same", "open") if counts[name])
    return Page(
        title=f"{clean(file_name(after.model))} on {clean(after.target)}: two runs",
        stamp=said or "nothing can be compared",
        tone=after.verdict,
        headline=f"Before: {_told(before)} After: {_told(after)}",
        sections=(
            Section("runs", "The two runs", found.caveats, tables=(_runs(found),)),
            Section("figures", "Figures of what ships", tables=(_figures(found),)),
            Section("budgets", "Budgets", tables=(_budgets(found.budgets),)),
            Section("classes", "Classes", plots=_class_plots(found), tables=(_classes(found),)),
            Section("operators", "Operators", tables=(_operators(found.operators),)),
            Section("settings", "What was set otherwise", tables=(_settings("Recipe", found.recipe),)),
            Section("environment", "Where it ran", tables=(_settings("Environment", found.environment),)),
        ),
    )


def _told(run: RunSummary) -> str:
    return f"{VERDICT_WORDS[run.verdict]}. {clean(run.headline, longest=200).rstrip('.')}."


def _runs(found: RunsCompared) -> Table:
    def row(name: str, field: str) -> tuple[str, str | None, str | None]:
        return name, *(getattr(one, field) for one in (found.before, found.after))

    verdicts = ("Verdict", VERDICT_WORDS[found.before.verdict], VERDICT_WORDS[found.after.verdict])
    rows = (
        verdicts,
        row("Shipped", "shipped"),
        row("Target", "target"),
        row("Model", "model"),
        row("Finished", "finished"),
        row("edgekd", "edgekd"),
        row("Read from", "run"),
    )
    return Table("Side by side", ("Of the run", "Before", "After"), rows, "", sortable=False)


def _shown(found: RunsCompared) -> list[Change]:
    """All figures, but the median where neither run tells it from the tail."""
    by_name = {change.what: change for change in found.figures}
    median, tail = by_name.get("latency_p50_ms"), by_name.get("latency_p95_ms")
    alike = median and tail and (median.before, median.after) == (tail.before, tail.after)
    return [change for change in found.figures if not (alike and change is median)]


def _figures(found: RunsCompared) -> Table:
    by_change = [(change, column("", [change.before, change.after])) for change in _shown(found)]
    rows = tuple(
        (
            ", ".join(part for part in (FIGURE_TITLES.get(change.what, change.what), shared.said) if part),
            *shared.texts,
            _difference(change),
            f"{change.outcome}: {change.reason}" if change.reason else change.outcome,
        )
        for change, shared in by_change
    )
    note = (
        "Better and worse are what is exact, or whose intervals lie apart. Open is what is neither, which is not the "
        "same as unchanged."
    )
    return Table("Figures", ("Figure", "Before", "After", "Change", "What may be said"), rows, note, sortable=False)


def _difference(change: Change) -> str:
    """Scores in points, anything else in per cent; "" where the two are not of a kind."""
    before, after = change.before, change.after
    if before is None or after is None or change.outcome == "not comparable":
        return ""
    if before.unit in ("score", "fraction"):
        return f"{100 * (after.value - before.value):+.2f} points"
    return f"{100 * (after.value / before.value - 1):+.1f} %" if before.value else ""


def _budgets(changes: tuple[BudgetChange, ...]) -> Table:
    rows = tuple((_limited(one), _held(one.before), _held(one.after)) for one in changes)
    return Table("Budgets", ("Budget", "Before", "After"), rows, "")


def _limited(change: BudgetChange) -> str:
    title = METRIC_TITLES.get(change.metric, change.metric)
    return f"{title} (warns only)" if change.severity == "warn" else title


def _held(outcome: BudgetOutcome | None) -> str:
    return f"{VERDICT_WORDS[outcome.verdict]}, {limit(outcome)}" if outcome else "none"


def _class_plots(found: RunsCompared) -> tuple[Plot, ...]:
    known = [(one.name, one.before, one.after) for one in found.classes]
    rows = tuple(ClassRecall(name, old, new) for name, old, new in known if old is not None and new is not None)[:MOST]
    ordered = tuple(sorted(rows, key=lambda row: row.shipped - row.teacher))
    drawn = recall_by_class(ordered, found.per_class_name, said="before to after")
    caption = "Ring: before. Dot: after. Single classes have few samples, so small changes may be chance."
    return (Plot(f"{found.per_class_name.capitalize()} by class", drawn, caption),) if ordered else ()


def _classes(found: RunsCompared) -> Table:
    rows = tuple((one.name, _percent(one.before), _percent(one.after), _points(one)) for one in found.classes[:MOST])
    return Table(
        "Classes that changed", ("Class", "Before", "After", "Change"), rows, _rest(found.classes), folded=True
    )


def _operators(changes: tuple[ValueChange, ...]) -> Table:
    rows = tuple((one.name, quantity(one.before, "ms"), quantity(one.after, "ms")) for one in changes[:MOST])
    note = f"Estimated for the target, in milliseconds. {_rest(changes)}".strip()
    return Table("Time by operator", ("Operator", "Before", "After"), rows, note)


def _settings(title: str, changes: tuple[SettingChange, ...]) -> Table:
    rows = tuple((one.name, one.before or "not set", one.after or "not set") for one in changes[:MOST])
    return Table(title, ("Name", "Before", "After"), rows, _rest(changes))


def _rest(changes: tuple[ValueChange, ...] | tuple[SettingChange, ...]) -> str:
    return f"The {MOST} of {len(changes)} that changed most; the JSON has all." if len(changes) > MOST else ""


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _points(one: ValueChange) -> str:
    return "" if one.before is None or one.after is None else f"{100 * (one.after - one.before):+.1f} points"
