"""Stage 5, second half, where it is asked for: what ONNX Runtime executes on the target's core, emulated."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from edgekd.device import DeviceProfile
from edgekd.emulated_figures import EmulatedCore, core_for, counted
from edgekd.emulated_scores import ScoredThere, scores_there
from edgekd.emulation.inputs import Array
from edgekd.errors import EdgekdError, PlaceLost
from edgekd.examine import scored_splits, write_one_input
from edgekd.figures import Counted, Figures
from edgekd.latency.predictor import Prediction
from edgekd.preprocessing import Preprocessing
from edgekd.progress import Listener, Tick
from edgekd.record import Record
from edgekd.results import Candidate
from edgekd.tasks.task import Task

F = TypeVar("F", bound=Figures)


class Emulated(Record):
    """What takes the place of the same in the benchmark; `notes` say what was not emulated, and why."""

    models: dict[str, Figures]
    candidates: tuple[Candidate, ...]
    validation: dict[str, float]
    latency_by_operator: dict[str, dict[str, float]]
    notes: tuple[str, ...]


def emulate(
    folder: Path,
    *,
    models: Mapping[str, Path],
    figures: Mapping[str, Figures],
    candidates: tuple[Candidate, ...],
    validation: Mapping[str, float],
    files: Path,
    profile: DeviceProfile,
    preprocessing: Preprocessing,
    task: Task,
    data: Path | None,
    loaded: Path,
    seconds: float,
    seed: int,
    listen: Listener,
) -> Emulated:
    """Count what models and candidates execute in ONNX Runtime, and score those that round otherwise there than here.

    A candidate's score on validation, by which is chosen, becomes lower by what the target's kernels lose on it.

    Args:
        models, figures: teacher, student and control as exported, and what is known of them.
        files: folder of the candidates' files.
        loaded: the load stage's folder, with what the teacher says of the splits in `data`.
        seconds: wall time of scoring one file on one split.

    Raises:
        UsageError: the target is this machine, or has no Arm processor.
        PlaceLost: the emulation kit is not there.
    """
    core = core_for(profile)
    one = np.load(write_one_input(folder / "input.npy", data, preprocessing), allow_pickle=False)
    able = [c for c in candidates if c.runtime == "onnxruntime" and c.latency_p50_ms is not None]
    found, notes = _count({**models, **{c.id: files / c.file for c in able}}, core, profile, one, listen)
    if not any(c.scheme == "fp32" for c in able if c.id in found):
        notes.append("fp32, which the others are compared with, was not counted, so their latencies are estimates too")
        found = {who: known for who, known in found.items() if who in models}
    others = [c.id for c in candidates if c.runtime != "onnxruntime"]
    if others:
        notes.append(f"only ONNX Runtime is emulated, so nothing that is said of {', '.join(others)} was")
    scored, told = scores_there(
        {c.id: files / c.file for c in able if c.scored_on},
        core,
        teacher=models["teacher"],
        task=task,
        splits=scored_splits(data, loaded, task) if data else {},
        preprocessing=preprocessing,
        seconds=seconds,
        seed=seed,
        listen=listen,
    )
    return Emulated(
        models={who: _counted(known, found.get(who)) for who, known in figures.items()},
        candidates=tuple(_scored(_counted(c, found.get(c.id)), scored.get(c.id)) for c in candidates),
        validation={who: score - (scored[who].lost if who in scored else 0) for who, score in validation.items()},
        latency_by_operator={who: prediction.by_operator for who, (prediction, _) in found.items()},
        notes=(*notes, *told),
    )


def _count(
    paths: Mapping[str, Path], core: EmulatedCore, profile: DeviceProfile, one: Array, listen: Listener
) -> tuple[dict[str, tuple[Prediction, Counted]], list[str]]:
    """What was counted, by the names of the files, and sentences on what was not."""
    found: dict[str, tuple[Prediction, Counted]] = {}
    notes: list[str] = []
    began = time.monotonic()
    for at, (who, path) in enumerate(paths.items()):
        left = (time.monotonic() - began) / at * (len(paths) - at) if at else None
        listen(Tick(f"counted on {core.name}", at, len(paths), who, left))
        try:
            found[who] = counted(path, core, profile, one)
        except PlaceLost:
            raise
        except EdgekdError as error:
            why = str(error).replace(str(path), path.name)
            notes.append(f"{who} could not be counted on {core.place}, so its latency is an estimate: {why}")
    listen(Tick(f"counted on {core.name}", len(paths), len(paths), "all counted"))
    return found, notes


def _counted(known: F, found: tuple[Prediction, Counted] | None) -> F:
    if found is None:
        return known
    latency = found[0].latency_ms  # counts do not tell the median from the tail
    return known.model_copy(update={"latency_p50_ms": latency, "latency_p95_ms": latency, "instructions": found[1]})


def _scored(candidate: Candidate, found: ScoredThere | None) -> Candidate:
    if found is None:
        return candidate
    updates = {"score": found.score, "drop": found.drop, "metrics": found.metrics, "scored_on": None}
    return candidate.model_copy(update=updates)
