"""The ladder: int8 schemes of rising effort, climbed until one keeps enough of the score."""

from collections.abc import Callable, Sequence

from edgekd.defaults import DEFAULT_DROP, QUANTIZATION_DROP
from edgekd.quantization import LadderStep

RUNGS = ("int8_static", "int8_products", "int8_corrected", "int8_mixed", "int8_searched", "int8_qad")
"""From the cheapest to the dearest."""


def enough(fp32: float, teacher: float, drop: float | None) -> float:
    """Return the validation score at which climbing stops.

    With a budget `drop` it is what that leaves of the teacher's score. Without, it is `QUANTIZATION_DROP` under fp32,
    but no more under the teacher than `DEFAULT_DROP`, which would not ship. Where fp32 itself is below what is allowed,
    quantization may cost `QUANTIZATION_DROP` more.
    """
    least = teacher - (DEFAULT_DROP if drop is None else drop)
    if fp32 < least:
        return fp32 - QUANTIZATION_DROP
    return least if drop is not None else max(least, fp32 - QUANTIZATION_DROP)


def climb(
    rungs: Sequence[str], *, write: Callable[[str], str | None], score: Callable[[str], float], enough: float
) -> tuple[LadderStep, ...]:
    """Write rung after rung until one scores `enough`, and return what each came to.

    Args:
        write: writes a rung's file; returns the reason where it does not apply or is broken.
        score: validation score of a rung that was written.
    """
    steps = []
    for rung in rungs:
        reason = write(rung)
        found = None if reason else score(rung)
        inside = found is not None and found >= enough
        steps.append(LadderStep(scheme=rung, score=found, enough=enough, inside=inside, reason=reason or ""))
        if inside:
            break
    return tuple(steps)
