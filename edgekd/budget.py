"""Budgets: what the user allows a model to cost, read from `metric=value` and held against a run's figures.

A budget is judged by the figure for the target. A measured figure decides by its value, and the reason says where its
interval reaches across the limit; an estimate decides nothing unless it is allowed to, and then only when its whole
interval lies on one side of the limit. So does a time that comes from emulated instructions, since nothing took it
(docs/adr/0014-which-numbers-decide.md); an emulated score is that core's own, and decides by its value.
"""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from edgekd.errors import UsageError, did_you_mean
from edgekd.figures import Figures, Number
from edgekd.record import Record
from edgekd.results import BudgetOutcome, Verdict
from edgekd.units import KIBIBYTES, MILLISECONDS, SHARES

Metric = Literal["latency", "latency_p50", "latency_p99", "memory", "size", "load", "drop"]
Severity = Literal["error", "warn"]

HOST = "host"
_EXACT = 1e-9  # a drop of 0.93 - 0.92 is not over a limit of 0.01 because of binary fractions

_NUMBER_WITH_UNIT = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµ%]*)")


class Budget(Record):
    """One limit. `limit` is in ms (latency, load), KiB (memory, size) or as a share of 1 (drop); the user gave it in
    `given_in`. It is for the device `target`, or for every one."""

    metric: Metric
    limit: float = Field(ge=0, allow_inf_nan=False)
    given_in: str | None = None
    severity: Severity = "error"
    target: str | None = None


def parse_budget(text: str, *, severity: Severity = "error") -> Budget:
    """Read `latency=30ms`, `memory=64MiB`, `size=500KB`, `load=1s` or `drop=1%`.

    `latency` means the 95th percentile, `latency_p50` and `latency_p99` others; `drop` is in absolute points of score,
    so `1%` is 0.01. Units are required: us, ms, s; KiB, MiB, GiB (1024), KB, MB, GB (1000); %. Upper and lower case do
    not matter. `latency=60ms@raspberry-pi-4` is for that device alone.

    Raises:
        UsageError: the metric, number or unit is none of these, or the limit makes no sense.
    """
    name, separator, value = (part.strip() for part in text.partition("="))
    if not separator:
        raise UsageError(f"The budget {_quoted(text)} has no '='; write it like {_EXAMPLES['latency']}.")
    metric = next((known for known in UNITS_OF if known == ALIASES.get(name, name)), None)
    if metric is None:
        hint = did_you_mean(name[:40], [*UNITS_OF, *ALIASES])
        raise UsageError(
            f"The budget {_quoted(text)} names no known metric; write it like {_EXAMPLES['latency']}{hint}"
        )
    example = f"write it like {_EXAMPLES[metric]}"
    value, at, target = (part.strip() for part in value.partition("@"))
    if at and not target:
        raise UsageError(f"The budget {_quoted(text)} names no device after '@'; {example}@raspberry-pi-4.")
    match = _NUMBER_WITH_UNIT.fullmatch(value)
    if match is None:
        raise UsageError(f"The budget {_quoted(text)} has no number with a unit after '='; {example}.")
    units = UNITS_OF[metric]
    unit = next((known for known in units if known.lower() == match[2].lower()), None)
    if unit is None:
        given = match[2][:20]
        fault = f"the unknown unit {given!r}" if given else "no unit"
        raise UsageError(f"The budget {_quoted(text)} has {fault}; {example}{did_you_mean(given, units)}")
    limit = float(match[1]) * units[unit]
    if not math.isfinite(limit) or limit < 0 or (limit == 0 and metric != "drop") or (metric == "drop" and limit > 1):
        bounds = "between 0% and 100%" if metric == "drop" else "above zero and finite"
        raise UsageError(f"The budget {_quoted(text)} must be {bounds}; {example}.")
    return Budget(metric=metric, limit=limit, given_in=unit, severity=severity, target=target or None)


def parse_budgets(texts: Iterable[str], *, severity: Severity = "error") -> tuple[Budget, ...]:
    """Read several budgets, in their order.

    Raises:
        UsageError: as `parse_budget`, or a metric is named twice for the same device.
    """
    budgets: dict[tuple[str, str | None], Budget] = {}
    for text in texts:
        budget = parse_budget(text, severity=severity)
        key = budget.metric, budget.target
        if key in budgets:
            for_whom = f" on {_quoted(budget.target)}" if budget.target else ""
            raise UsageError(
                f"The budget {_quoted(text)} is the second one for {budget.metric}{for_whom}; give each metric once."
            )
        budgets[key] = budget
    return tuple(budgets.values())


def judge(
    budgets: Iterable[Budget],
    shipped: Figures,
    teacher: Figures | None,
    *,
    target: str,
    allow_estimate: bool = False,
    load_ms: Number | None = None,
) -> tuple[BudgetOutcome, ...]:
    """Hold each budget against what is known of the shipped model on `target`.

    A figure measured on this machine says nothing about another target, so it leaves the budget inconclusive.
    `drop` is what `score_drop` returns; `size` is exact; `load_ms` is what `load_time` returns.
    """
    outcomes = []
    for budget in budgets:
        actual = _actual(budget.metric, shipped, teacher, load_ms)
        verdict, reason = _decide(budget, actual, target=target, allow_estimate=allow_estimate)
        outcomes.append(
            BudgetOutcome(
                metric=budget.metric,
                limit=budget.limit,
                unit=CANONICAL_UNITS[budget.metric],
                given_in=budget.given_in,
                severity=budget.severity,
                actual=actual,
                verdict=verdict,
                reason=reason,
            )
        )
    return tuple(outcomes)


def verdict(outcomes: Sequence[BudgetOutcome]) -> Verdict:
    """Return the worst outcome: missed before inconclusive before pass. Those of severity `warn` do not count."""
    found = {outcome.verdict for outcome in outcomes if outcome.severity == "error"}
    return "missed" if "missed" in found else "inconclusive" if "inconclusive" in found else "pass"


def score_drop(teacher: Figures | None, model: Figures) -> Number | None:
    """Return the teacher's score less the model's, as a share of 1; None where either is missing.

    With the paired interval where the two were compared sample by sample, else without one: the intervals of the two
    scores do not say how far apart the models are on the same samples.
    """
    if model.drop is not None or teacher is None or teacher.score is None or model.score is None:
        return model.drop
    return Number(
        value=teacher.score.value - model.score.value,
        unit=CANONICAL_UNITS["drop"],
        word=teacher.score.word if model.score.word == "measured" else model.score.word,
        place=model.score.place,
        n=min(teacher.score.n, model.score.n),
    )


def load_time(shipped: Figures) -> Number | None:
    """The shipped model's load time, once measured, with the place that it was measured on."""
    bench = shipped.host
    return None if bench is None else Number(value=bench.load_ms, unit="ms", word="measured", place=bench.place, n=1)


def _decide(budget: Budget, actual: Number | None, *, target: str, allow_estimate: bool) -> tuple[Verdict, str]:
    if actual is None:
        return "inconclusive", _WITHOUT_FIGURE[budget.metric]
    if not math.isfinite(actual.value):
        return "inconclusive", f"the figure for {budget.metric} is not a finite number"
    of_target = budget.metric in _OF_THE_TARGET
    if of_target and actual.place == HOST != target and actual.word != "estimated":
        return "inconclusive", f"{actual.word} on {HOST}, which says little about {target}"
    if budget.metric == "latency_p99" and actual.word == "measured" and actual.n < _RUNS_OF_P99:
        return "inconclusive", f"the 99th percentile of {actual.n} runs is their slowest; {_RUNS_OF_P99} are needed"
    within = budget.limit * (1 + _EXACT) + _EXACT
    if actual.word == "measured" or (actual.word == "emulated" and not of_target):
        return _by_value(budget, actual, within)
    if not allow_estimate:
        what = "only an estimate" if actual.word == "estimated" else "from emulated instructions, not measured"
        return "inconclusive", f"{what}: measure it on the target, or let estimates decide by --allow-estimate"
    return _by_interval(budget, actual, within)


def _by_interval(budget: Budget, actual: Number, within: float) -> tuple[Verdict, str]:
    low, high = (bound if bound is not None else math.nan for bound in (actual.low, actual.high))
    if high <= within:
        return "pass", "the whole interval of the estimate is within the limit"
    if low > within:
        return "missed", f"the whole interval of the estimate is over the limit; {_over(budget, actual.value)}"
    if math.isnan(low) or math.isnan(high):
        return "inconclusive", "an estimate without an interval decides nothing"
    return "inconclusive", "the interval of the estimate spans the limit"


def _by_value(budget: Budget, actual: Number, within: float) -> tuple[Verdict, str]:
    if actual.value <= within:
        spans = actual.high is not None and actual.high > within
        return "pass", "by its value; the interval reaches over the limit" if spans else ""
    spans = actual.low is not None and actual.low <= within
    over = _over(budget, actual.value)
    return "missed", f"{over}, by its value; the interval reaches below the limit" if spans else over


def _over(budget: Budget, value: float) -> str:
    if budget.metric == "drop":
        return f"over the limit by {100 * (value - budget.limit):.2g} points"
    if not budget.limit:
        return "over the limit"
    by = 100 * (value / budget.limit - 1)
    return f"over the limit by {f'{by:,.0f}' if by >= 100 else f'{by:.2g}'} %"


def _actual(metric: Metric, shipped: Figures, teacher: Figures | None, load_ms: Number | None) -> Number | None:
    match metric:
        case "latency":
            return shipped.latency_p95_ms
        case "latency_p50":
            return shipped.latency_p50_ms
        case "latency_p99":
            return shipped.host.latency.p99_ms if shipped.host else None
        case "memory":
            return shipped.peak_memory_kib
        case "size":
            return _size(shipped)
        case "load":
            return load_ms
        case "drop":
            return score_drop(teacher, shipped)


def _size(shipped: Figures) -> Number | None:
    size = shipped.size_kib
    return None if size is None else Number(value=size, low=size, high=size, unit="KiB", word="measured", place="file")


def _quoted(text: str) -> str:
    """Quote what the user typed, without control characters and not longer than a line."""
    return repr(text if len(text) <= 60 else text[:59] + "…")


UNITS_OF: dict[Metric, dict[str, float]] = {
    "latency": MILLISECONDS,
    "latency_p50": MILLISECONDS,
    "latency_p99": MILLISECONDS,
    "memory": KIBIBYTES,
    "size": KIBIBYTES,
    "load": MILLISECONDS,
    "drop": SHARES,
}
ALIASES = {"latency_p95": "latency"}
CANONICAL_UNITS: dict[str, str] = {
    "latency": "ms",
    "latency_p50": "ms",
    "latency_p99": "ms",
    "memory": "KiB",
    "size": "KiB",
    "load": "ms",
    "drop": "fraction",
}
_EXAMPLES: dict[Metric, str] = {
    "latency": "latency=30ms",
    "latency_p50": "latency_p50=20ms",
    "latency_p99": "latency_p99=50ms",
    "memory": "memory=64MiB",
    "size": "size=500KiB",
    "load": "load=1s",
    "drop": "drop=1%",
}
_OF_THE_TARGET = ("latency", "latency_p50", "latency_p99", "memory", "load")
_RUNS_OF_P99 = 100
_WITHOUT_FIGURE: dict[Metric, str] = {
    "latency": "there is no latency for the target",
    "latency_p50": "there is no latency for the target",
    "latency_p99": "only a measurement on the target tells its 99th percentile",
    "memory": "there is no peak memory for the target",
    "size": "the size of the shipped model is not known",
    "load": "there is no load time for the target",
    "drop": "a drop needs a score of both the teacher and the shipped model",
}
