"""The ladder: int8 schemes of rising effort, climbed until one keeps enough of the score."""

from collections.abc import Callable, Sequence

from edgekd.quantization import LadderStep

RUNGS = ("int8_static", "int8_products", "int8_corrected", "int8_mixed", "int8_searched", "int8_qad")
"""From the cheapest to the dearest."""
QUANTIZATION_DROP = 0.005
"""Score that int8 may lose on top of fp32 before a further rung is tried, where no `drop` budget says otherwise."""


def enough(fp32: float, teacher: float | None, drop: float | None) -> float:
    """Return the validation score at which climbing stops.

    With a budget `drop` it is what that leaves of the teacher's score; without, or where fp32 is below that already,
    `QUANTIZATION_DROP` under fp32.
    """
    if teacher is not None and drop is not None and fp32 >= teacher - drop:
        return teacher - drop
    return fp32 - QUANTIZATION_DROP


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
