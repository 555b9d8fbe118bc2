"""int8 with the noisiest layers left float, as few of them as bring the score back."""

from collections.abc import Sequence
from pathlib import Path

from edgekd.device import Numerics
from edgekd.schemes.calibration import CalibrationData, Method
from edgekd.schemes.quantizer import write_scheme
from edgekd.schemes.scheme import Evidence, SchemeResult
from edgekd.schemes.trials import (
    attempt,
    begin_search,
    best_trial,
    graph_of,
    read_trace,
    smallest_prefix,
)

MOST = 0.5
"""Share of the layers that may stay float; with more, little is left of int8."""


def int8_mixed(
    model: Path,
    out: Path,
    *,
    calibration: CalibrationData | None,
    numerics: Numerics,
    method: Method = "minmax",
    evidence: Evidence | None = None,
) -> SchemeResult:
    """Leave the layers float that make most noise where only they are quantized, until the score is enough.

    Where half of them do not suffice, or time is over, the best of what was tried is written, and a note says so.

    Raises:
        BadInput: the graph cannot be quantized.
    """
    begun = begin_search(model, calibration, numerics, method, evidence, name=out.stem)
    if isinstance(begun, str):
        return SchemeResult(scheme="int8_mixed", skipped=begun)
    ground, table = begun
    noise, evidence = table.layers, ground.evidence
    order = [one.node for one in noise][: max(1, int(MOST * len(noise)))]

    def inside(names: Sequence[str]) -> bool:
        return ground.out_of_time or attempt(ground, names).score >= evidence.enough

    smallest_prefix(order, inside)
    trials = read_trace(ground).trials
    if not trials:
        skipped = f"{evidence.seconds:.0f} s, its limit, were over before anything was tried"
        return SchemeResult(scheme="int8_mixed", skipped=skipped)
    best = best_trial(trials, evidence.enough)
    notes = [*ground.prepared.notes, *table.notes, f"{len(best.left_float)} of {len(noise)} layers are float"]
    if best.score < evidence.enough:
        limit = "in the time there was" if ground.out_of_time else f"with up to {len(order)} layers float"
        notes.append(f"{100 * evidence.enough:.2f} % were not reached {limit}; this is the best")
    result = write_scheme("int8_mixed", graph_of(ground, best.left_float), out, tuple(notes))
    return result.model_copy(update={"left_float": best.left_float})
