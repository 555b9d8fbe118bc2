"""Scores of files whose integer kernels round otherwise on the target: by its core, emulated, beside this machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.budget import CANONICAL_UNITS
from edgekd.data.split import Split
from edgekd.emulated_figures import EmulatedCore, answers
from edgekd.errors import EdgekdError, PlaceLost
from edgekd.figures import Number
from edgekd.preprocessing import Preprocessing, normalise
from edgekd.progress import Listener
from edgekd.runtimes import predict_batches
from edgekd.tasks.intervals import TAIL, paired_difference, score_number
from edgekd.tasks.task import Floats, Outputs, Task, score_of

DIFFERING = "answers_differing_from_host"
"""Metric: for how many samples the target's kernels answer another class than this machine's."""
_BATCH = 256


@dataclass(frozen=True)
class ScoredThere:
    """What a file's score is as the target's kernels compute it: score, drop against the teacher and metrics on test,
    and on validation what those kernels `lost` against this machine's."""

    score: Number
    drop: Number
    metrics: dict[str, float]
    lost: float


@dataclass(frozen=True)
class _Samples:
    """A split in an order that a seed gives."""

    split: Split
    order: npt.NDArray[np.int64]
    preprocessing: Preprocessing

    def inputs(self, begin: int, end: int) -> npt.NDArray[Any]:
        return normalise(np.asarray(self.split.inputs[self.order[begin:end]]), self.preprocessing)

    def truth(self, n: int) -> npt.NDArray[Any]:
        return np.asarray(self.split.labels)[self.order[:n]]

    def here(self, path: Path, task: Task, n: int) -> Outputs:
        """What this machine's kernels make of the first n."""
        batches = (self.inputs(at, min(n, at + _BATCH)) for at in range(0, n, _BATCH))
        return predict_batches(path, batches, every_output=task.every_output)


def scores_there(
    files: Mapping[str, Path],
    core: EmulatedCore,
    *,
    teacher: Path,
    task: Task,
    splits: Mapping[str, Split],
    preprocessing: Preprocessing,
    seconds: float,
    seed: int,
    listen: Listener,
) -> tuple[dict[str, ScoredThere], tuple[str, ...]]:
    """Score files on the same samples of "val" and "test": as many as each of them ran within `seconds` a split.

    Returns:
        What was found by the names of the files, and sentences on what could not be scored and on how many samples.

    Raises:
        PlaceLost: the emulation kit is not there.
    """
    ordered = {
        name: _Samples(split, np.random.default_rng(seed).permutation(len(split)), preprocessing)
        for name, split in splits.items()
    }
    said, notes = _answered(files, core, ordered, task, seconds=seconds, listen=listen)
    if not said:
        return {}, tuple(notes)
    counts = {name: min(len(one[name]) for one in said.values()) for name in ordered}
    test, n = ordered["test"], counts["test"]
    expected = task.statistics(test.here(teacher, task, n), test.truth(n))
    notes += _how_many(counts, ordered, core, seconds)
    if n < len(test.order):
        score = 100 * float(task.score(expected.mean(axis=0)))
        notes.append(f"on the same {n:,} test samples the teacher scores {score:.2f} % here; each drop is from that")
    return {
        who: _scored(files[who], outputs, ordered, counts, task=task, teacher=expected, place=core.place)
        for who, outputs in said.items()
    }, tuple(notes)


def _answered(
    files: Mapping[str, Path],
    core: EmulatedCore,
    ordered: Mapping[str, _Samples],
    task: Task,
    *,
    seconds: float,
    listen: Listener,
) -> tuple[dict[str, dict[str, Outputs]], list[str]]:
    """What the core's kernels answer by file and split, and sentences on what they do not."""
    said: dict[str, dict[str, Outputs]] = {}
    notes: list[str] = []
    for who, path in files.items():
        try:
            said[who] = {
                name: answers(
                    path,
                    core,
                    samples.inputs,
                    len(samples.order),
                    seconds=seconds,
                    every_output=task.every_output,
                    listen=listen,
                )
                for name, samples in ordered.items()
            }
        except PlaceLost:
            raise
        except EdgekdError as error:
            why = str(error).replace(str(path), path.name)
            notes.append(f"{who} could not be scored on {core.place}, so its score is this machine's: {why}")
    return said, notes


def _scored(
    path: Path,
    outputs: Mapping[str, Outputs],
    ordered: Mapping[str, _Samples],
    counts: Mapping[str, int],
    *,
    task: Task,
    teacher: Floats,
    place: str,
) -> ScoredThere:
    val, test, n = ordered["val"], ordered["test"], counts["test"]
    there, here, truth = outputs["test"][:n], test.here(path, task, n), test.truth(n)
    statistics = task.statistics(there, truth)
    on_val = val.truth(counts["val"])
    by_host, by_target = val.here(path, task, counts["val"]), outputs["val"][: counts["val"]]
    return ScoredThere(
        score=score_number(task, statistics, place=place).model_copy(update={"word": "emulated"}),
        drop=_drop(task, teacher, statistics, place),
        metrics={**task.metrics(there, truth), **_differing(task, here, there)},
        lost=score_of(task, by_host, on_val) - score_of(task, by_target, on_val),
    )


def _drop(task: Task, teacher: Floats, statistics: Floats, place: str) -> Number:
    """The teacher's score minus the file's. That not one of few samples differs does not say that none would: then the
    ends are the exact binomial bound on the share that does (Clopper and Pearson, 1934)."""
    drop = paired_difference(task, teacher, statistics, place=place)
    bound = 1 - TAIL ** (1 / drop.n) if drop.low == drop.high else 0.0
    ends = {"low": (drop.low or 0.0) - bound, "high": (drop.high or 0.0) + bound}
    return drop.model_copy(update={**ends, "word": "emulated", "unit": CANONICAL_UNITS["drop"]})


def _differing(task: Task, here: Outputs, there: Outputs) -> dict[str, float]:
    """How many answers differ, where the task's answers are classes."""
    ours, theirs = task.truth_of(here), task.truth_of(there)
    return {DIFFERING: float((ours != theirs).sum())} if ours.dtype.kind == "i" and ours.ndim == 1 else {}


def _how_many(
    counts: Mapping[str, int], ordered: Mapping[str, _Samples], core: EmulatedCore, seconds: float
) -> list[str]:
    """On how many samples, where not on all."""
    return [
        f"{counts[name]:,} of {len(samples.order):,} {name} samples, drawn by the seed, were scored on {core.place}: "
        f"as many as every file ran in {seconds:g} s"
        for name, samples in ordered.items()
        if counts[name] < len(samples.order)
    ]
