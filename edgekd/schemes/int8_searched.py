"""int8 with layers left float where that buys most score for its time: a search with latency in its objective."""

import logging
from collections.abc import Sequence
from pathlib import Path

from edgekd.device import Numerics
from edgekd.schemes.calibration import CalibrationData, Method
from edgekd.schemes.noise import LayerNoise
from edgekd.schemes.quantizer import write_scheme
from edgekd.schemes.scheme import Evidence, SchemeResult
from edgekd.schemes.trials import (
    Ground,
    attempt,
    begin_search,
    best_trial,
    graph_of,
    read_trace,
    smallest_prefix,
)

log = logging.getLogger(__name__)

_FREE_MS = 1e-6
"""What a layer counts that costs nothing, or gains, in float."""


def int8_searched(
    model: Path,
    out: Path,
    *,
    calibration: CalibrationData | None,
    numerics: Numerics,
    method: Method = "minmax",
    evidence: Evidence | None = None,
) -> SchemeResult:
    """Search the layers to leave float for the fastest set whose score is enough, by the target's estimated latency.

    First as few as needed in the order of noise taken away per millisecond added; then, from the dearest on, each is
    quantized again unless the score falls below enough without it. Ends when nothing is left to try or time is over.

    Raises:
        BadInput: the graph cannot be quantized.
    """
    begun = begin_search(model, calibration, numerics, method, evidence, name=out.stem)
    if isinstance(begun, str):
        return SchemeResult(scheme="int8_searched", skipped=begun)
    ground, table = begun
    noise, evidence = table.layers, ground.evidence
    added = _added_milliseconds(ground, noise)
    attempt(ground, ())
    _search(ground, noise, added)
    trials = read_trace(ground).trials
    best = best_trial(trials, evidence.enough)
    notes = [
        *ground.prepared.notes,
        *table.notes,
        f"{len(best.left_float)} of {len(noise)} layers are float, the best of {len(trials)} sets",
    ]
    if ground.out_of_time:
        notes.append(f"the search ended after {evidence.seconds:.0f} s, its limit")
    if best.score < evidence.enough:
        notes.append(f"{100 * evidence.enough:.2f} % were not reached; this is the best score")
    result = write_scheme("int8_searched", graph_of(ground, best.left_float), out, tuple(notes))
    return result.model_copy(update={"left_float": best.left_float})


def _search(ground: Ground, noise: Sequence[LayerNoise], added: dict[str, float]) -> None:
    enough = ground.evidence.enough
    power = {one.node: 10 ** (-one.sqnr_db / 10) for one in noise}
    order = sorted(power, key=lambda node: (-power[node] / added[node], node))

    def inside(names: Sequence[str]) -> bool:
        return ground.out_of_time or attempt(ground, names).score >= enough

    count = smallest_prefix(order, inside)
    kept = set(order[:count])
    for node in sorted(kept, key=lambda one: (-added[one], one)):
        if ground.out_of_time:
            return
        if attempt(ground, kept - {node}).score >= enough:
            kept.remove(node)


def _added_milliseconds(ground: Ground, noise: Sequence[LayerNoise]) -> dict[str, float]:
    """Node to what leaving it alone float adds to the estimated latency, at least `_FREE_MS`."""
    base = ground.evidence.milliseconds(graph_of(ground, ()))
    added = {}
    for one in noise:
        if ground.out_of_time:
            log.info("time is over before every layer's cost is known; the rest count as free")
            break
        added[one.node] = max(_FREE_MS, ground.evidence.milliseconds(graph_of(ground, (one.node,))) - base)
    return {one.node: added.get(one.node, _FREE_MS) for one in noise}
