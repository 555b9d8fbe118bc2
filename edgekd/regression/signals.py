"""Signals of a build that cannot flake: they follow from the file, or repeat to the instruction.

Only scores vary, with the samples that they were taken on; their interval decides beside their value.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgekd.budget import Severity
from edgekd.device import resolve
from edgekd.emulation.count import count
from edgekd.external_data import size_kib
from edgekd.figures import Counted, Figures, Number, Word
from edgekd.formats.onnx_file import read_onnx
from edgekd.gate_result import Comparison, ComparisonVerdict
from edgekd.latency import predict_file
from edgekd.latency.graph import summarise
from edgekd.numerics import is_arm
from edgekd.places.emulated_work import emulated_core
from edgekd.schemes.inspect_graph import operators_left

CONVERSIONS = ("QuantizeLinear", "DequantizeLinear")
_EXACT = 1e-9
_SHOWN_OPERATORS = 4


@dataclass(frozen=True)
class Signal:
    """How a figure is compared: by its ratio, or by the difference of a score or of a count.

    `smallest_effect` is what is worth failing a build for. `worse` is 1 where more is worse, -1 where less is.
    """

    by: Literal["share", "fraction", "count"]
    smallest_effect: float
    severity: Severity = "error"
    worse: Literal[1, -1] = 1


@dataclass(frozen=True)
class Facts:
    """What one build is compared by: figures by metric, and the operators that the device's runtime executes."""

    signals: Mapping[str, Number]
    operators: Mapping[str, int]


SIGNALS: dict[str, Signal] = {
    "time": Signal("share", 0.03),
    "instructions": Signal("share", 0.005),
    "score": Signal("fraction", 0.005, worse=-1),
    "size": Signal("share", 0.01),
    "macs": Signal("share", 0.005),
    "arena": Signal("share", 0.01),
    "memory": Signal("share", 0.01),
    "latency": Signal("share", 0.03),
    "conversions": Signal("count", 0.0),
    "operators": Signal("count", 0.0, severity="warn"),
}
"""What a build is compared in. The effects are judgements: half a point of score; half of a per cent of what repeats
exactly; 1 % of a file, which training anew changes a little; 3 % of a time."""
MEASURED_MEMORY_EFFECT = 0.05
"""Peak memory varies by a few per cent from process to process."""


def figures_of_file(model: Path, target: str) -> Figures:
    """Return what follows from a file alone: size, MACs, parameters, and latency and peak memory by estimate.

    Raises UsageError for an unknown device, BadInput where the file is no model or its work cannot be counted.
    """
    found = predict_file(model, target=target)
    [one] = found.predictions
    return Figures(
        macs=found.model.macs,
        params=found.model.params,
        size_kib=size_kib(model),
        latency_p50_ms=one.latency_ms,
        latency_p95_ms=one.latency_ms,
        peak_memory_kib=one.peak_memory_kib,
    )


def facts_of_file(model: Path, target: str) -> Facts:
    """Return every signal that a file has, at batch 1. Raises as `figures_of_file`."""
    found, profile = figures_of_file(model, target), resolve(target).profile
    arena = summarise(read_onnx(model)).activation_bytes / 1024
    facts = facts_of_records(found, operators_left(model, arm=is_arm(profile.isa)))
    return Facts({**facts.signals, "arena": _of_file(arena, "KiB", "estimated")}, facts.operators)


def facts_of_records(found: Figures, operators: Mapping[str, int]) -> Facts:
    """Return the signals among a run's figures and the operators that its device's runtime executes."""
    known = {
        "score": found.score,
        "size": None if found.size_kib is None else _of_file(found.size_kib, "KiB"),
        "macs": None if found.macs is None else _of_file(found.macs, "count"),
        "memory": found.peak_memory_kib,
        "latency": found.latency_p95_ms,
        "instructions": _counted(found.instructions),
    }
    if operators:
        known["conversions"] = _of_file(sum(operators.get(name, 0) for name in CONVERSIONS), "count")
        known["operators"] = _of_file(sum(operators.values()), "count")
    return Facts({metric: number for metric, number in known.items() if number is not None}, operators)


def instructions_of(model: Path, target: str) -> Number:
    """Count what one inference executes on the target's core, one thread, by the target's version of ONNX Runtime.

    Raises UsageError where the target has no Arm processor, and what `edgekd.emulation.count.count` raises.
    """
    profile = resolve(target).profile
    core, version = emulated_core(profile), profile.runtimes["onnxruntime"].version
    total = count(model, core=core, version=version).instructions.total
    return Number(value=total, unit="count", word="emulated", place=f"emulate:{core}@{version}", n=1)


def _counted(found: Counted | None) -> Number | None:
    if found is None or "total" not in found.by_class:
        return None
    return Number(value=found.by_class["total"], unit="count", word="emulated", place=found.place, n=1)


def compare(metric: str, baseline: Number, now: Number, *, severity: Severity | None = None) -> Comparison:
    """Hold a figure against the baseline's: worse by more than the smallest effect is a regression.

    Where both have intervals that are more than their values, the difference must also be more than chance.
    """
    signal = SIGNALS[metric]
    effect = signal.smallest_effect
    if metric == "memory" and "measured" in (baseline.word, now.word):
        effect = MEASURED_MEMORY_EFFECT
    change = _CHANGES[signal.by](baseline, now)
    verdict, reason = _decide(change, effect, signal.worse) if change else _from_nothing(now)
    return Comparison(
        metric=metric,
        baseline=baseline,
        now=now,
        change=change,
        smallest_effect=effect,
        verdict=verdict,
        severity=severity or signal.severity,
        reason=reason,
    )


def different_operators(baseline: Mapping[str, int], now: Mapping[str, int]) -> str:
    """Say which operators became more or fewer, the largest change first: "+2 QuantizeLinear, -1 QLinearConv"."""
    changes = {name: now.get(name, 0) - baseline.get(name, 0) for name in sorted({*baseline, *now})}
    ordered = sorted((name for name, by in changes.items() if by), key=lambda name: -abs(changes[name]))
    shown = [f"{changes[name]:+d} {name[:40]}" for name in ordered[:_SHOWN_OPERATORS]]
    more = len(ordered) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _decide(change: Number, effect: float, worse: int) -> tuple[ComparisonVerdict, str]:
    by = worse * change.value
    if not math.isfinite(by):
        return "inconclusive", "one of the two is not a finite number"
    if abs(by) <= effect * (1 + _EXACT) + _EXACT:
        return "pass", ""
    if change.low is not None and change.high is not None and change.low <= 0 <= change.high:
        if by > 0:
            return "inconclusive", "worse by its value, but the interval includes no change"
        return "pass", "better by its value, but the interval includes no change"
    return ("regression", "") if by > 0 else ("improvement", "")


def _from_nothing(now: Number) -> tuple[ComparisonVerdict, str]:
    return ("regression", "there was none before") if now.value > 0 else ("pass", "")


def _ratio(baseline: Number, now: Number) -> Number | None:
    """Without an interval: what is compared by its ratio is exact, or two estimates that share their error."""
    if not baseline.value:
        return None
    return Number(value=now.value / baseline.value - 1, unit="share", word=now.word, place=now.place, n=now.n)


def _points(baseline: Number, now: Number) -> Number:
    """The difference of two scores, with an interval as of independent samples, which is too wide for the same ones."""
    change = now.value - baseline.value
    bounds = {}
    if None not in (baseline.low, baseline.high, now.low, now.high):
        below = math.hypot(now.value - _bound(now.low), _bound(baseline.high) - baseline.value)
        above = math.hypot(_bound(now.high) - now.value, baseline.value - _bound(baseline.low))
        bounds = {"low": change - below, "high": change + above}
    return Number(value=change, **bounds, level=now.level, unit="fraction", word=now.word, place=now.place, n=now.n)


def _difference(baseline: Number, now: Number) -> Number:
    return Number(value=now.value - baseline.value, unit="count", word=now.word, place=now.place)


def _bound(value: float | None) -> float:
    assert value is not None
    return value


def _of_file(value: float, unit: str, word: Word = "measured") -> Number:
    """A figure that is exact for a file."""
    return Number(value=value, low=value, high=value, unit=unit, word=word, place="file")


_CHANGES: dict[str, Callable[[Number, Number], Number | None]] = {
    "share": _ratio,
    "fraction": _points,
    "count": _difference,
}
