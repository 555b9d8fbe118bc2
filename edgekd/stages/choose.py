"""Stage 6: which candidate ships, and why each of the others does not. Pure: figures in, decisions out."""

import math
from collections.abc import Callable, Sequence

from edgekd.budget import Budget, judge
from edgekd.defaults import DEFAULT_DROP, QUANTIZATION_DROP
from edgekd.figures import Number
from edgekd.ranking import ALIKE, alike, comparable, cost_of, interval_of, is_measured, unbeaten
from edgekd.record import Record
from edgekd.results import Candidate

DUELS = 3
"""At most so many are compared with each other directly; each takes about ten seconds."""

Duel = Callable[[Candidate, Candidate], Number]
"""What the second costs relative to the first, both run in turns."""

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
    duel: Duel | None = None,
) -> Choice:
    """Take the fastest candidate that is not slower than fp32 on the target and loses no more score than allowed.

    Speed is compared only between figures of the same word: measured on the target where the target was measured,
    else emulated, else estimated. What the float model lost against the teacher is taken from test; what a scheme costs
    on top, from validation, so that no scheme is picked for its test score. A candidate that is only as fast as fp32
    may ship where it keeps a budget of memory or size that fp32 misses.

    Args:
        candidates: every candidate that loads and runs; among them one of scheme fp32.
        rejected: candidate id to the reason why it may not ship whatever its speed.
        validation: candidate id to its score on validation (absent without data).
        teacher: the teacher's score on test.
        budgets: limits of the user; `drop` replaces DEFAULT_DROP, and candidates inside all others are preferred.
        duel: asked about measured candidates whose intervals overlap; where it does not tell them apart either, the
            better score on validation ships, then the smaller memory, then the smaller file.
    """
    baseline = next(c for c in candidates if c.scheme == "fp32" and c.runtime == "onnxruntime")
    allowed = next((b.limit for b in budgets if b.metric == "drop"), DEFAULT_DROP)
    lost = _lost(candidates, baseline, validation, teacher)
    missed = {c.id: _missed(c, budgets, target) for c in candidates}
    warnings = []
    if lost.get(baseline.id, 0.0) > allowed + _EXACT:
        warnings.append(f"fp32 itself {_too_much(lost[baseline.id], allowed)}")
        allowed = lost[baseline.id] + QUANTIZATION_DROP  # it may cost a little more, but not be a reason of its own
    reasons: dict[str, str] = {}
    for candidate in candidates:
        reason = rejected.get(candidate.id)
        if reason is None and lost.get(candidate.id, 0.0) > allowed + _EXACT:
            reason = _too_much(lost[candidate.id], allowed)
        if reason is None and candidate is not baseline and not _relieves(candidate, baseline, missed):
            reason = _not_faster(candidate, baseline)
        if reason is not None:
            reasons[candidate.id] = reason
    eligible = [c for c in candidates if c.id not in reasons]
    winner, won, beaten = _fastest(eligible, missed, validation, duel)
    reasons |= beaten
    reasons[winner.id] = _why_chosen(winner, baseline, lost, missed) + won
    front = unbeaten([c for c in candidates if c.id not in rejected and comparable(c, baseline)])
    return Choice(
        candidates=tuple(
            c.model_copy(update={"chosen": c is winner, "reason": reasons[c.id], "pareto": c.id in front})
            for c in candidates
        ),
        warnings=tuple(warnings),
    )


def _lost(
    candidates: Sequence[Candidate], baseline: Candidate, validation: dict[str, float], teacher: Number | None
) -> dict[str, float]:
    """Candidate id to the score it loses against the teacher; empty where nothing was scored."""
    if teacher is None or baseline.score is None or baseline.id not in validation:
        return {}
    by_float = teacher.value - baseline.score.value
    return {c.id: by_float + validation[baseline.id] - validation[c.id] for c in candidates if c.id in validation}


def _missed(candidate: Candidate, budgets: Sequence[Budget], target: str) -> frozenset[str]:
    """Names of the budgets that it is over, `drop` apart."""
    others = [b for b in budgets if b.metric != "drop"]
    outcomes = judge(others, candidate, None, target=target, allow_estimate=True, load_ms=None)
    return frozenset(o.metric for o in outcomes if o.verdict == "missed")


def _too_much(lost: float, allowed: float) -> str:
    return f"loses {100 * lost:.2f} points; {100 * allowed:.3g} are allowed"


def _relieves(candidate: Candidate, baseline: Candidate, missed: dict[str, frozenset[str]]) -> bool:
    """Whether it is as fast as fp32 and keeps a budget of memory or size that fp32 misses, without missing another."""
    kept = missed[baseline.id] - missed[candidate.id]
    return alike(candidate, baseline) and bool(kept & {"memory", "size"}) and missed[candidate.id] < missed[baseline.id]


def _not_faster(candidate: Candidate, baseline: Candidate) -> str | None:
    """Why the candidate may not replace fp32 for its speed: the paired ratio where measured, else the estimates."""
    if is_measured(candidate) and candidate.host_ratio_to_fp32 is not None:
        ratio = candidate.host_ratio_to_fp32
        return None if interval_of(ratio)[1] < 1 else f"not faster than fp32: {_interval(ratio)} of its CPU time"
    ours, theirs = candidate.latency_p50_ms, baseline.latency_p50_ms
    if ours is None or theirs is None:
        return "its latency is unknown"
    if not comparable(candidate, baseline):
        return f"its latency is {ours.word} and that of fp32 {theirs.word}, which is no comparison"
    if ours.value < theirs.value:
        return None
    return f"not faster than fp32: {_against(ours.value, theirs.value)} ms, {ours.word}"


def _fastest(
    eligible: Sequence[Candidate],
    missed: dict[str, frozenset[str]],
    validation: dict[str, float],
    duel: Duel | None,
) -> tuple[Candidate, str, dict[str, str]]:
    """The winner, what more decided for it, and the reasons against the others; the fastest go first."""
    fewest = min(len(missed[c.id]) for c in eligible)
    pool = sorted((c for c in eligible if len(missed[c.id]) == fewest), key=lambda c: (cost_of(c), c.size_kib or 0.0))
    winner, won, reasons = pool[0], "", dict[str, str]()
    for rival in pool[1 : 1 + DUELS]:
        if alike(winner, rival):
            winner, loser, won, lost = _decide(winner, rival, validation, duel)
            reasons[loser.id] = lost
    for other in eligible:
        if other is not winner and other.id not in reasons:
            more = sorted(missed[other.id] - missed[winner.id]) if len(missed[other.id]) > fewest else []
            unit = "of fp32's CPU time" if is_measured(winner) else "ms"
            slower = f"{winner.id} is faster: {_against(cost_of(winner), cost_of(other))} {unit}"
            reasons[other.id] = f"misses the budget of {more[0]}, which {winner.id} keeps" if more else slower
    return winner, won, reasons


def _decide(
    one: Candidate, other: Candidate, validation: dict[str, float], duel: Duel | None
) -> tuple[Candidate, Candidate, str, str]:
    """(winner, loser, why the one won, why the other lost) of two whose latencies do not tell them apart."""
    if duel is not None and is_measured(one) and is_measured(other):
        ratio = duel(one, other)
        low, high = interval_of(ratio)
        if low > 1 or high < 1:
            winner, loser = (one, other) if low > 1 else (other, one)
            told = f"in turns, {other.id} takes {_interval(ratio)} of the CPU time of {one.id}"
            return winner, loser, f"; {told}", f"{winner.id} is faster: {told}"
    winner, loser, why = _preferred(one, other, validation)
    return winner, loser, f"; as fast as {loser.id}, but {why}", f"as fast as {winner.id}, which {why}"


def _preferred(one: Candidate, other: Candidate, validation: dict[str, float]) -> tuple[Candidate, Candidate, str]:
    """(winner, loser, why) by score on validation, then peak memory, then size; else the first."""
    a, b = (validation.get(c.id) for c in (one, other))
    if a is not None and b is not None and a != b:
        winner, loser = (one, other) if a > b else (other, one)
        return winner, loser, f"scores higher on validation, {100 * max(a, b):.2f} against {100 * min(a, b):.2f} %"
    for figure, why in ((_memory, "takes less memory"), (_size, "is smaller")):
        small, large = sorted((one, other), key=figure)
        if figure(large) > ALIKE * figure(small):
            return small, large, f"{why}, {_against(figure(small), figure(large))} KiB"
    return one, other, "is named first"


def _memory(candidate: Candidate) -> float:
    return candidate.peak_memory_kib.value if candidate.peak_memory_kib else math.inf


def _size(candidate: Candidate) -> float:
    return candidate.size_kib or math.inf


def _why_chosen(
    candidate: Candidate, baseline: Candidate, lost: dict[str, float], missed: dict[str, frozenset[str]]
) -> str:
    kept = sorted((missed[baseline.id] - missed[candidate.id]) & {"memory", "size"})
    if candidate is baseline:
        speed = "nothing allowed is faster"
    elif kept and _not_faster(candidate, baseline):
        speed = f"as fast as fp32, and keeps the budget of {' and '.join(kept)}, which fp32 misses"
    else:
        speed = _times(candidate, baseline)
    if candidate.id not in lost:
        return f"{speed}; its score is unknown"
    return f"{speed}; {100 * (lost[candidate.id] - lost[baseline.id]):.2f} points lost on top of fp32 on validation"


def _times(candidate: Candidate, baseline: Candidate) -> str:
    """How many times as fast as fp32: the inverse of the paired ratio where measured, else of the estimates."""
    ratio = candidate.host_ratio_to_fp32
    if not is_measured(candidate) or ratio is None:
        return f"{cost_of(baseline) / cost_of(candidate):.2f} times as fast as fp32"
    low, high = interval_of(ratio)
    return f"{1 / ratio.value:.2f} times as fast as fp32, [{1 / high:.2f}, {1 / low:.2f}] at {100 * ratio.level:g} %"


def _against(ours: float, theirs: float) -> str:
    """Both figures with the same decimals, as many as tell them apart."""
    fewest = max(0, 2 - math.floor(math.log10(max(min(ours, theirs), 1e-3))))
    texts = ((f"{ours:.{places}f}", f"{theirs:.{places}f}") for places in range(fewest, fewest + 3))
    pair = next((pair for pair in texts if pair[0] != pair[1]), None) or (f"{ours:.{fewest}f}",) * 2
    return f"{pair[0]} against {pair[1]}"


def _interval(ratio: Number) -> str:
    low, high = interval_of(ratio)
    if low == high:
        return f"{ratio.value:.2f}"
    return f"{ratio.value:.2f} [{low:.2f}, {high:.2f}] at {100 * ratio.level:g} %"
