"""Two builds run in turns on one machine until it is clear whether the new one costs more."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.errors import UsageError
from edgekd.figures import Number
from edgekd.places.host import PLACE
from edgekd.places.place import Place
from edgekd.places.process import Send, run_program
from edgekd.places.programs import program_for
from edgekd.places.table import open_place
from edgekd.places.timing import log_ratio, log_ratio_of_p10
from edgekd.record import Record
from edgekd.regression.sequence import Verdict, confidence_sequence, decide, first_seen

LEVEL = 0.95
"""Level of the interval over all looks at once."""
LEVEL_OF_WALL_TIME = 0.99
"""With more threads than one the cost is wall time, which whatever else runs disturbs: more is demanded of it."""
PROCESS_SECONDS, PROCESS_ROUNDS, WARMUP = 1.0, 8, 5
"""What one process measures: about as long as it takes to start under load. Below that, starting costs more time than
further samples would; far above, further samples say less than further processes."""


class SideBySide(Record):
    """What running two builds in turns found; ratios are of the build over its baseline, below 1 is cheaper."""

    verdict: Verdict
    ratio: Number
    """Of process CPU time per inference; of several threads, of the 10th percentile of wall time. It decides. `n`
    counts processes."""
    wall_p10_ratio: Number
    wall_p50_ratio: Number
    smallest_effect: float
    """Smaller changes are no regression worth failing; 0.03 is 3 %."""
    processes: int
    runs: int
    """Inferences of each build, over all processes."""
    seconds: float
    confirmed: bool
    """Whether a regression was found, run again in fresh processes, and held."""
    reason: str


@dataclass(frozen=True)
class Turn:
    """What one process found: logarithms of the build's figures over its baseline's, and inferences of each."""

    cost: float
    wall_p10: float
    wall_p50: float
    runs: int


def side_by_side(
    baseline: Path,
    build: Path,
    *,
    on: str = PLACE,
    threads: int = 1,
    runtime: str = "onnxruntime",
    session_a: Mapping[str, Any] | None = None,
    session_b: Mapping[str, Any] | None = None,
    inputs: Path | None = None,
    smallest_effect: float = 0.03,
    max_seconds: float = 45.0,
    seed: int = 0,
) -> SideBySide:
    """Run two builds in turns, A B B A, in fresh processes until it is clear whether `build` costs more.

    Processes come in pairs, each loading another build first, and the interval over them is looked at after each pair;
    `regression.sequence.decide` says when it is clear. One pair always runs; no other is begun that would end after
    `max_seconds`, judged by the longest so far, and what is not clear then is inconclusive. `session_a` and `session_b`
    are the session options of baseline and build; `inputs` is an .npy file as in `bench`, and `seed` draws the inputs
    where there is none.

    Raises UsageError for an effect or a time that is none, and what `bench` raises.
    """
    if not 0 < smallest_effect < 1:
        raise UsageError(f"The smallest effect must lie between 0 and 1, 0.03 being 3 %, not {smallest_effect:g}.")
    if not max_seconds > 0:
        raise UsageError(f"The time to decide in must be above zero seconds, not {max_seconds:g}.")
    sides = [(baseline, session_a), (build, session_b)]
    models: list[dict[str, Any]] = [
        {"path": str(p.absolute()), "runtime": runtime, "session": dict(s or {})} for p, s in sides
    ]
    single = all(model["session"].get("threads", threads) == 1 for model in models)
    level = LEVEL if single else LEVEL_OF_WALL_TIME
    spec = {
        "models": models,
        "threads": threads,
        "seed": seed,
        "warmup": WARMUP,
        "min_runs": PROCESS_ROUNDS,
        "min_seconds": PROCESS_SECONDS,
        "max_seconds": max(PROCESS_SECONDS, max_seconds / 16),
        **({} if inputs is None else {"inputs": str(inputs.absolute())}),
    }
    turns: list[Turn] = []
    verdict: Verdict | None = None
    begun = time.monotonic()
    longest = spent = 0.0
    with open_place(on) as place:
        send = program_for(place, runtime).send
        while verdict is None and spent + longest <= max_seconds:
            turns += [_turn(place, send, spec, order, single=single) for order in (1, -1)]
            now = time.monotonic() - begun
            longest, spent = max(longest, now - spent), now
            verdict = decide([turn.cost for turn in turns], smallest_effect=smallest_effect, level=level)
    return _result(turns, verdict, place=place.name, level=level, effect=smallest_effect, seconds=spent)


def _turn(place: Place, send: Send, spec: dict[str, Any], order: int, *, single: bool) -> Turn:
    """Run both builds in one process, which loads the baseline first (1) or last (-1)."""
    result = run_program(place, {**spec, "models": spec["models"][::order]}, send)
    baseline, build = result["models"][::order]
    p10 = log_ratio_of_p10(baseline, build)
    p50 = math.log(np.median(build["wall_ms"]) / np.median(baseline["wall_ms"]))
    return Turn(log_ratio(baseline, build) if single else p10, p10, p50, result["runs"])


def _result(
    turns: list[Turn], verdict: Verdict | None, *, place: str, level: float, effect: float, seconds: float
) -> SideBySide:
    costs = [turn.cost for turn in turns]
    ratios = [
        _ratio(logs, place, level)
        for logs in (costs, [turn.wall_p10 for turn in turns], [turn.wall_p50 for turn in turns])
    ]
    verdict = verdict or "inconclusive"
    seen = first_seen(costs, smallest_effect=effect, level=level)
    return SideBySide(
        verdict=verdict,
        ratio=ratios[0],
        wall_p10_ratio=ratios[1],
        wall_p50_ratio=ratios[2],
        smallest_effect=effect,
        processes=len(turns),
        runs=sum(turn.runs for turn in turns),
        seconds=seconds,
        confirmed=verdict == "regression",
        reason=_reason(verdict, ratios[0], seen=seen, effect=effect, seconds=seconds),
    )


def _ratio(logs: list[float], place: str, level: float) -> Number:
    value, low, high = confidence_sequence(logs, level=level)
    bounds = {"low": math.exp(low), "high": math.exp(high)} if math.isfinite(low) else {}
    return Number(value=math.exp(value), **bounds, level=level, unit="ratio", word="measured", place=place, n=len(logs))


def _reason(verdict: Verdict, ratio: Number, *, seen: int | None, effect: float, seconds: float) -> str:
    """Say in a sentence what decided, or why nothing did."""
    said = f"costs {_change(ratio.value)} ({_interval(ratio)}) in {ratio.n} processes"
    limit = f"{100 * effect:.3g} %"
    if verdict == "pass":
        return f"{said}: no slowdown of {limit}"
    if verdict == "improvement":
        return f"{said}: surely cheaper, and by more than {limit}"
    if seen is None:
        return f"{said}: {seconds:.0f} s did not tell whether it is slower by {limit}; allow more time, or less load"
    if verdict == "regression":
        return f"{said}: surely slower, and by more than {limit}; {ratio.n - seen} fresh ones found it again"
    return f"{said}: {seen} found it slower by more than {limit}, and no fresh ones confirmed it within {seconds:.0f} s"


def _interval(ratio: Number) -> str:
    if ratio.low is None or ratio.high is None:
        return "too few for an interval"
    return f"{_change(ratio.low)} to {_change(ratio.high)}"


def _change(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"
