"""int8 with the noisiest layers left float, as few of them as bring the score back."""

from collections.abc import Sequence
from pathlib import Path

from edgekd.device import Numerics
from edgekd.schemes.calibration import CalibrationData, Method
from edgekd.schemes.quantizer import already_integer, prepare, refusing, write_scheme
from edgekd.schemes.ranges import find_ranges
from edgekd.schemes.scheme import Evidence, SchemeResult
from edgekd.schemes.trials import (
    attempt,
    best_trial,
    graph_of,
    measured_noise,
    open_ground,
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
    if skipped := already_integer(model):
        return SchemeResult(scheme="int8_mixed", skipped=skipped)
    if calibration is None or evidence is None:
        return SchemeResult(scheme="int8_mixed", skipped="there are no data to calibrate and to score it with")
    prepared = prepare(model)
    with refusing(model):
        ranges = find_ranges(prepared.graph, calibration, method)
    ground = open_ground(prepared, ranges, numerics, evidence, name=out.stem)
    table = measured_noise(ground, calibration)
    noise = table.layers
    if table.complete and not noise:
        return SchemeResult(scheme="int8_mixed", skipped="no operator of the graph has an int8 form")
    order = [one.node for one in noise][: max(1, int(MOST * len(noise)))]

    def inside(names: Sequence[str]) -> bool:
        return ground.out_of_time or attempt(ground, names).score >= evidence.enough

    smallest_prefix(order, inside)
    trials = read_trace(ground).trials
    if not trials:
        skipped = f"{evidence.seconds:.0f} s, its limit, were over before anything was tried"
        return SchemeResult(scheme="int8_mixed", skipped=skipped)
    best = best_trial(trials, evidence.enough)
    notes = [*prepared.notes, *table.notes, f"{len(best.left_float)} of {len(noise)} layers are float"]
    if best.score < evidence.enough:
        limit = "in the time there was" if ground.out_of_time else f"with up to {len(order)} layers float"
        notes.append(f"{100 * evidence.enough:.2f} % were not reached {limit}; this is the best")
    result = write_scheme("int8_mixed", graph_of(ground, best.left_float), out, tuple(notes))
    return result.model_copy(update={"left_float": best.left_float})
