"""Two runs held against each other: what changed, and what may be believed of it. Pure: reports in, a record out."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from edgekd.budget import Severity
from edgekd.figures import Bench, Figures, Number
from edgekd.nested import leaves
from edgekd.record import Record
from edgekd.results import BudgetOutcome, Candidate, Report, Verdict

Outcome = Literal["better", "worse", "same", "open", "not comparable"]

_HIGHER_IS_BETTER = ("score",)
_ALWAYS_MOVES = ("memory_free_mib", "load")
"""Of the environment: differs from one minute to the next."""
_OF_A_MACHINE = ("ms", "KiB")


class RunSummary(Record):
    """What one run came to. `shipped` is its scheme and runtime."""

    run: str
    finished: str | None
    verdict: Verdict
    headline: str
    edgekd: str
    target: str
    model: str
    sha256: str
    shipped: str | None


class Change(Record):
    """One figure of what shipped. It is better or worse only where it is exact, or where the intervals lie apart and
    cover what differs between two runs: those of times do not, since they hold for one process at one time."""

    what: str
    before: Number | None
    after: Number | None
    outcome: Outcome
    reason: str = ""


class BudgetChange(Record):
    """One budget in both runs; None where a run had none for the metric and severity."""

    metric: str
    severity: Severity
    before: BudgetOutcome | None
    after: BudgetOutcome | None


class ValueChange(Record):
    """A number without an interval: a class's share, an operator's estimated milliseconds."""

    name: str
    before: float | None
    after: float | None


class SettingChange(Record):
    """A setting or fact that differs; None where one of the runs does not have it."""

    name: str
    before: str | None
    after: str | None


class RunsCompared(Record):
    """`report BEFORE AFTER --json`. `caveats` are sentences on what keeps the runs from being compared."""

    schema_version: Literal[1] = Field(1, alias="schema")
    before: RunSummary
    after: RunSummary
    caveats: tuple[str, ...]
    figures: tuple[Change, ...]
    budgets: tuple[BudgetChange, ...]
    per_class_name: str
    classes: tuple[ValueChange, ...]
    operators: tuple[ValueChange, ...]
    recipe: tuple[SettingChange, ...]
    environment: tuple[SettingChange, ...]


def compare_runs(before: Report, after: Report, *, names: tuple[str, str]) -> RunsCompared:
    """Hold what shipped of one run against that of another; `names` say where the two were read from."""
    return RunsCompared(
        schema=1,
        before=summary_of(before, names[0]),
        after=summary_of(after, names[1]),
        caveats=tuple(_caveats(before, after)),
        figures=tuple(_figures(before, after)),
        budgets=tuple(_budgets(before, after)),
        per_class_name=after.per_class_name,
        classes=_values(_shares(before), _shares(after)),
        operators=_values(before.latency_by_operator, after.latency_by_operator),
        recipe=_settings(before.recipe, after.recipe),
        environment=_settings(before.environment, after.environment),
    )


def summary_of(report: Report, run: str) -> RunSummary:
    """What one run came to."""
    chosen = chosen_of(report)
    return RunSummary(
        run=run,
        finished=report.finished,
        verdict=report.verdict,
        headline=report.headline,
        edgekd=report.edgekd,
        target=report.target,
        model=report.model.path,
        sha256=report.model.sha256,
        shipped=f"{chosen.scheme} for {chosen.runtime}" if chosen else None,
    )


def chosen_of(report: Report) -> Candidate | None:
    """The candidate that shipped."""
    return next((candidate for candidate in report.candidates if candidate.chosen), None)


def figures_of(report: Report) -> dict[str, Number]:
    """What is known of what shipped, by the names of results.json; exact figures have an interval of no width."""
    shipped = report.models.get("shipped") or Figures()
    exact = {
        "size_kib": (shipped.size_kib, "KiB"),
        "macs": (shipped.macs, "count"),
        "params": (shipped.params, "count"),
    }
    found: dict[str, Number | None] = {"score": shipped.score, "drop": shipped.drop}
    found |= {name: None if value is None else _exact(value, unit) for name, (value, unit) in exact.items()}
    found |= {"latency_p50_ms": shipped.latency_p50_ms, "latency_p95_ms": shipped.latency_p95_ms}
    found |= {"peak_memory_kib": shipped.peak_memory_kib, **_of_host(shipped.host)}
    return {name: number for name, number in found.items() if number is not None}


def change_of(what: str, before: Number | None, after: Number | None, *, apart: str = "") -> Change:
    """Judge one figure; `apart` says why the two cannot be compared whatever they are."""
    if before is None or after is None:
        apart = f"not known {'before' if before is None else 'after'}"
    elif (before.word, before.place) != (after.word, after.place):
        apart = f"{before.word} on {before.place} before, {after.word} on {after.place} after"
    if before is None or after is None or apart:
        return Change(what=what, before=before, after=after, outcome="not comparable", reason=apart)
    outcome, reason = _judged(before, after, higher=what in _HIGHER_IS_BETTER)
    return Change(what=what, before=before, after=after, outcome=outcome, reason=reason)


def _judged(before: Number, after: Number, *, higher: bool) -> tuple[Outcome, str]:
    if before.low is None or before.high is None or after.low is None or after.high is None:
        return "open", "no interval is known"
    if (before.value, before.low, before.high) == (after.value, after.low, after.high):
        return "same", ""
    if before.unit == "ms" and before.word == "measured":
        return "open", "timed at different times; edgekd gate --baseline times both in turns"
    if before.low <= after.high and after.low <= before.high:
        return "open", "the intervals overlap"
    return ("better" if (after.value > before.value) == higher else "worse"), ""


def _figures(before: Report, after: Report) -> Iterator[Change]:
    old, new = figures_of(before), figures_of(after)
    other_machine = before.environment.get("cpu") != after.environment.get("cpu")
    other_data = _fingerprint(before) != _fingerprint(after) or before.score_name != after.score_name
    for name in dict.fromkeys((*old, *new)):
        one, two = old.get(name), new.get(name)
        apart = "the runs were scored on different data" if name in ("score", "drop") and other_data else ""
        here = one is not None and one.place == "host" and one.unit in _OF_A_MACHINE
        yield change_of(name, one, two, apart="timed on different machines" if here and other_machine else apart)


def _caveats(before: Report, after: Report) -> Iterator[str]:
    if before.model.sha256 != after.model.sha256:
        yield "The runs started from different model files."
    if before.target != after.target:
        yield f"The runs are for different devices, {before.target} and {after.target}."
    if before.edgekd != after.edgekd:
        yield f"The runs were made by edgekd {before.edgekd} and {after.edgekd}, whose estimates may differ."
    if _fingerprint(before) != _fingerprint(after):
        yield "The runs were given different data, so their scores are not compared."
    if before.environment.get("cpu") != after.environment.get("cpu"):
        yield "The runs were timed on different processors, so what was measured there is not compared."


def _budgets(before: Report, after: Report) -> Iterator[BudgetChange]:
    old, new = ({(one.metric, one.severity): one for one in report.budgets} for report in (before, after))
    for metric, severity in dict.fromkeys((*old, *new)):
        held = {"before": old.get((metric, severity)), "after": new.get((metric, severity))}
        yield BudgetChange(metric=metric, severity=severity, **held)


def _shares(report: Report) -> dict[str, float]:
    return {name: shares["shipped"] for name, shares in report.per_class.items() if "shipped" in shares}


def _values(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[ValueChange, ...]:
    """What changed, the largest change first; what only one run has counts as wholly changed."""
    names = dict.fromkeys((*before, *after))
    changed = [ValueChange(name=name, before=before.get(name), after=after.get(name)) for name in names]
    changed = [one for one in changed if one.before != one.after]
    return tuple(sorted(changed, key=lambda one: -abs((one.after or 0.0) - (one.before or 0.0))))


def _settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[SettingChange, ...]:
    old, new = dict(leaves(before)), dict(leaves(after))
    return tuple(
        SettingChange(name=name, before=old.get(name), after=new.get(name))
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name) and name not in _ALWAYS_MOVES
    )


def _of_host(host: Bench | None) -> dict[str, Number | None]:
    """What was measured where the run was made; it decides nothing for another device."""
    return {} if host is None else {"cpu_ms": host.cpu_ms, "host_p50_ms": host.latency.p50_ms}


def _fingerprint(report: Report) -> object:
    return (report.splits or {}).get("fingerprint")


def _exact(value: float, unit: str) -> Number:
    return Number(value=value, low=value, high=value, unit=unit, word="measured", place="file")
