"""Stage 6: which candidate ships, and why each of the others does not. Pure: figures in, decisions out."""

import math
from collections.abc import Sequence

from edgekd.budget import Budget, judge
from edgekd.figures import Number
from edgekd.record import Record
from edgekd.results import Candidate
from edgekd.schemes.ladder import QUANTIZATION_DROP

DEFAULT_DROP = 0.02
"""Score that the shipped file may lose against the teacher where no `drop` budget is set: two points."""


_EXACT = 1e-9
"""0.93 - 0.91 is not over a limit of 0.02 because of binary fractions."""


class Choice(Record):
    """The candidates with their reasons, exactly one of them chosen, and what had to be given up."""

    candidates: tuple[Candidate, ...]
    warnings: tuple[str, ...]

    @property
    def chosen(self) -> Candidate:
        """The candidate that ships."""
        return next(c for c in self.candidates if c.chosen)


def choose(
    candidates: Sequence[Candidate],
    *,
    rejected: dict[str, str],
    validation: dict[str, float],
    teacher: Number | None,
    target: str,
    budgets: Sequence[Budget] = (),
) -> Choice:
    """Take the fastest candidate that is not slower than fp32 on the target and loses no more score than allowed.

    Speed is compared only between figures of the same word: measured on the target where the target was measured,
    else estimated. What the float model lost against the teacher is taken from test; what a scheme costs on top, from
    validation, so that no scheme is picked for its test score.

    Args:
        candidates: every candidate that loads and runs; among them one of scheme fp32.
        rejected: candidate id to the reason why it may not ship whatever its speed.
        validation: candidate id to its score on validation (absent without data).
        teacher: the teacher's score on test.
        budgets: limits of the user; `drop` replaces DEFAULT_DROP, and candidates inside all others are preferred.
    """
    baseline = next(c for c in candidates if c.scheme == "fp32")
    allowed = next((b.limit for b in budgets if b.metric == "drop"), DEFAULT_DROP)
    lost = _lost(candidates, baseline, validation, teacher)
    warnings = []
    if lost.get(baseline.id, 0.0) > allowed + _EXACT:
        warnings.append(f"fp32 itself {_too_much(lost[baseline.id], allowed)}")
        allowed = lost[baseline.id] + QUANTIZATION_DROP  # it may cost a little more, but not be a reason of its own
    reasons: dict[str, str] = {}
    eligible = []
    for candidate in candidates:
        reason = rejected.get(candidate.id)
        if reason is None and lost.get(candidate.id, 0.0) > allowed + _EXACT:
            reason = _too_much(lost[candidate.id], allowed)
        if reason is None and candidate is not baseline:
            reason = _not_faster(candidate, baseline)
        if reason is None:
            eligible.append(candidate)
        else:
            reasons[candidate.id] = reason
    winner = min(eligible, key=lambda c: (_budgets_broken(c, budgets, target), _milliseconds(c), c.size_kib or 0.0))
    return Choice(
        candidates=tuple(_explain(c, winner, baseline, reasons, lost) for c in candidates), warnings=tuple(warnings)
    )


def _lost(
    candidates: Sequence[Candidate], baseline: Candidate, validation: dict[str, float], teacher: Number | None
) -> dict[str, float]:
    """Candidate id to the score it loses against the teacher; empty where nothing was scored."""
    if teacher is None or baseline.score is None or baseline.id not in validation:
        return {}
    by_float = teacher.value - baseline.score.value
    return {c.id: by_float + validation[baseline.id] - validation[c.id] for c in candidates if c.id in validation}


def _too_much(lost: float, allowed: float) -> str:
    return f"loses {100 * lost:.2f} points; {100 * allowed:.3g} are allowed"


def _not_faster(candidate: Candidate, baseline: Candidate) -> str | None:
    """Why the candidate may not replace fp32 for its speed: the paired ratio where measured, else the estimates."""
    ratio = candidate.host_ratio_to_fp32
    measured = candidate.latency_p50_ms is not None and candidate.latency_p50_ms.word == "measured"
    if measured and ratio is not None:
        high = ratio.high if ratio.high is not None else ratio.value
        return None if high < 1 else f"not faster than fp32: {_interval(ratio)} of its CPU time"
    ours, theirs = candidate.latency_p50_ms, baseline.latency_p50_ms
    if ours is None or theirs is None:
        return "its latency is unknown"
    if ours.value < theirs.value:
        return None
    return f"not faster than fp32: {_against(ours.value, theirs.value)}, {ours.word}"


def _against(ours: float, theirs: float) -> str:
    """Both figures with the same decimals, as many as tell them apart."""
    fewest = max(0, 2 - math.floor(math.log10(max(min(ours, theirs), 1e-3))))
    texts = ((f"{ours:.{places}f}", f"{theirs:.{places}f}") for places in range(fewest, fewest + 3))
    pair = next((pair for pair in texts if pair[0] != pair[1]), None) or (f"{ours:.{fewest}f}",) * 2
    return f"{pair[0]} against {pair[1]} ms"


def _interval(ratio: Number) -> str:
    if ratio.low is None or ratio.high is None:
        return f"{ratio.value:.2f}"
    return f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}] at {100 * ratio.level:g} %"


def _milliseconds(candidate: Candidate) -> float:
    return candidate.latency_p50_ms.value if candidate.latency_p50_ms else float("inf")


def _budgets_broken(candidate: Candidate, budgets: Sequence[Budget], target: str) -> int:
    others = [b for b in budgets if b.metric != "drop"]
    outcomes = judge(others, candidate, None, target=target, allow_estimate=True, load_ms=None)
    return sum(o.verdict == "missed" for o in outcomes)


def _explain(
    candidate: Candidate, winner: Candidate, baseline: Candidate, reasons: dict[str, str], lost: dict[str, float]
) -> Candidate:
    if candidate.id == winner.id:
        return candidate.model_copy(update={"chosen": True, "reason": _why_chosen(candidate, baseline, lost)})
    reason = reasons.get(candidate.id, "")
    if not reason:
        reason = f"{winner.id} is faster: {_against(_milliseconds(winner), _milliseconds(candidate))}"
    return candidate.model_copy(update={"chosen": False, "reason": reason})


def _why_chosen(candidate: Candidate, baseline: Candidate, lost: dict[str, float]) -> str:
    if candidate is baseline:
        speed = "nothing allowed is faster"
    else:
        speed = f"{_milliseconds(baseline) / _milliseconds(candidate):.2f} times as fast as fp32"
    if candidate.id not in lost:
        return f"{speed}; its score is unknown"
    return f"{speed}; {100 * (lost[candidate.id] - lost[baseline.id]):.2f} points lost on top of fp32 on validation"
