"""Benchmarks on a place: one model timed and weighed, or two compared."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.errors import EdgekdError, UsageError
from edgekd.figures import Bench, Latency, Memory, Number
from edgekd.places.environment import disturbances
from edgekd.places.host import PLACE
from edgekd.places.intervals import mean, measured, percentile, student_interval
from edgekd.places.process import run_program
from edgekd.places.programs import program_for
from edgekd.places.table import open_place

WARMUP = 50
"""Runs after which warming up ends even if it is not steady yet."""

COMPARE_LEVEL = 0.99
"""Level of a comparison's interval. At 0.9 a model compared with itself is called different one time in ten."""


def bench(
    model: Path,
    *,
    on: str = PLACE,
    runtime: str = "onnxruntime",
    threads: int = 1,
    session: Mapping[str, Any] | None = None,
    inputs: Path | None = None,
    min_runs: int = 50,
    min_seconds: float = 2.0,
    max_seconds: float = 30.0,
    seed: int = 0,
) -> Bench:
    """Time and weigh one model at batch 1 in a fresh process; `session` are the runtime's own options.

    `inputs` is an .npy file with what is fed to a model of one input, (1, ...); without it inputs are made up.

    Timing goes on for at least `min_runs` runs and `min_seconds`, but ends at `max_seconds`; where that leaves fewer
    runs, `disturbed` says so. Raises BadInput where the runtime refuses the model, EdgekdError where the process dies,
    and what `open_place` raises for the place `on`.
    """
    one_model = {"path": str(model.absolute()), "runtime": runtime, "session": dict(session or {})}
    spec = {**_spec(threads, min_runs, min_seconds, max_seconds, seed), "models": [one_model], **_fed(inputs)}
    with open_place(on) as place:
        program = program_for(place, runtime)
        result = run_program(place, spec, program.send)
    [one], facts = result["models"], program.facts
    wall = one["wall_ms"]
    return Bench(
        place=place.name,
        runtime=runtime,
        runtime_version=facts["versions"][runtime],
        session=one["session"],
        latency=latency_of(wall, seed=seed, place=place.name),
        cpu_ms=measured(one["cpu_ms"], mean, unit="ms", place=place.name, seed=seed),
        load_ms=one["load_ms"],
        first_ms=one["first_ms"],
        memory=Memory(**{f"{stage}_kib": kib for stage, kib in result["memory"].items()}),
        samples_ms=tuple(wall),
        environment={**facts, **{key: result[key] for key in ("conditions", "runs", "processes")}},
        disturbed=_marks(result, spec, cores=facts["logical_cpus"]),
    )


def _marks(result: Mapping[str, Any], spec: Mapping[str, Any], *, cores: int) -> tuple[str, ...]:
    """What made the figures worse than the machine is, or fewer than was asked for, in sentences."""
    runs = result["runs"]
    marks = disturbances(result["conditions"], cores=cores, runs=runs, preempted=result["preempted"])
    if result["processes"] > 1:
        marks += (f"the connection was lost, and the samples come from {result['processes']} processes",)
    if runs < spec["min_runs"]:
        marks += (f"only {runs} of {spec['min_runs']} runs fitted into {spec['max_seconds']:g} s",)
    return marks


def latency_of(samples_ms: list[float], *, seed: int = 0, place: str = PLACE) -> Latency:
    """Return percentiles and mean of wall times in milliseconds, each with its interval."""
    percentiles = {
        f"p{q}_ms": measured(samples_ms, percentile(q), unit="ms", place=place, seed=seed) for q in (50, 90, 95, 99)
    }
    return Latency(**percentiles, mean_ms=measured(samples_ms, mean, unit="ms", place=place, seed=seed))


def compare(
    baseline: Path,
    candidate: Path,
    *,
    on: str = PLACE,
    runtime_a: str = "onnxruntime",
    runtime_b: str = "onnxruntime",
    session_a: Mapping[str, Any] | None = None,
    session_b: Mapping[str, Any] | None = None,
    inputs: Path | None = None,
    threads: int = 1,
    processes: int = 8,
    min_seconds: float = 4.0,
    max_seconds: float = 60.0,
    level: float = COMPARE_LEVEL,
    hopeless: float = math.inf,
) -> Number:
    """Return what an inference of `candidate` costs relative to one of `baseline`: unit "x", below 1 is cheaper.

    The cost is process CPU time at one thread. With more threads, be it by a session's own `threads`, those that wait
    spin and inflate CPU time; then it is the 10th percentile of wall time, which says less.

    Several fresh processes run both models in turn for `min_seconds` (`max_seconds`) altogether. Each gives one ratio,
    and the interval is Student's t over their logarithms. It cannot come from the runs of one process: where the two
    models came to lie in memory makes a difference of half a percent that no further run in that process averages
    out. Raises what `bench` raises.

    Args:
        hopeless: once the whole interval lies above this ratio, after an even number of processes, no more are run.
    """
    if processes < 2 or processes % 2:
        raise UsageError(
            f"processes must be an even number, so that each model is loaded first as often, not {processes}."
        )
    sides = [(baseline, runtime_a, session_a), (candidate, runtime_b, session_b)]
    models: list[dict[str, Any]] = [
        {"path": str(p.absolute()), "runtime": r, "session": dict(s or {})} for p, r, s in sides
    ]
    spec = _spec(threads, 20, min_seconds / processes, max_seconds / processes, 0)
    single = all(model["session"].get("threads", threads) == 1 for model in models)
    logs, runs = [], 0
    with open_place(on) as place:
        program = program_for(place, runtime_a, runtime_b)
        for process in range(processes):
            turn = -1 if process % 2 else 1
            result = run_program(place, {**spec, "models": models[::turn], **_fed(inputs)}, program.send)
            first, second = result["models"][::turn]
            logs.append(log_ratio(first, second) if single else log_ratio_of_p10(first, second))
            runs += result["runs"]
            if process % 2 and process > 1 and math.exp(student_interval(logs, level=level)[1]) > hopeless:
                break
    value, low, high = (math.exp(one) for one in student_interval(logs, level=level))
    return Number(value=value, low=low, high=high, level=level, unit="x", word="measured", place=place.name, n=runs)


def log_ratio(baseline: Mapping[str, Any], candidate: Mapping[str, Any]) -> float:
    """Return the mean logarithm of the ratio of CPU times, over the middle half of pairs of rounds that ran in either
    order: a quarter at each end is cut, for what a disturbance costs one side alone.

    Now and then a kernel accounts a whole run to its neighbour and one reads 0; such pairs do not count.
    """
    costs = np.asarray([baseline["cpu_ms"], candidate["cpu_ms"]], np.float64)  # (2, rounds)
    size = min(2, costs.shape[1])
    pairs = costs[:, : costs.shape[1] // size * size].reshape(2, -1, size)
    pairs = pairs[:, (pairs > 0).all(axis=(0, 2))]
    if pairs.size == 0:
        raise EdgekdError("This machine's CPU clock is too coarse to compare two models by; compare wall times.")
    logs = np.sort(np.log(pairs[1] / pairs[0]).mean(axis=1))
    return float(logs[len(logs) // 4 : len(logs) - len(logs) // 4].mean())


def log_ratio_of_p10(baseline: Mapping[str, Any], candidate: Mapping[str, Any]) -> float:
    """Return the logarithm of the ratio of the 10th percentiles of wall time."""
    return math.log(np.percentile(candidate["wall_ms"], 10) / np.percentile(baseline["wall_ms"], 10))


def _fed(inputs: Path | None) -> dict[str, str]:
    return {} if inputs is None else {"inputs": str(inputs.absolute())}


def _spec(threads: int, min_runs: int, min_seconds: float, max_seconds: float, seed: int) -> dict[str, Any]:
    """Everything of the program's spec but the models."""
    return {
        "threads": threads,
        "seed": seed,
        "warmup": WARMUP,
        "min_runs": min_runs,
        "min_seconds": min_seconds,
        "max_seconds": max_seconds,
    }
