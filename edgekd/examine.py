"""One exported file in one runtime: counted, timed and weighed here, estimated for the target, and scored."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.budget import CANONICAL_UNITS
from edgekd.data.source import SplitName
from edgekd.data.split import Split, open_split
from edgekd.device import DeviceProfile
from edgekd.external_data import size_kib
from edgekd.figures import Bench, Figures, Number
from edgekd.latency.optimised import summarise_file
from edgekd.latency.predictor import Prediction, predict_summary
from edgekd.latency.x86 import is_x86_profile
from edgekd.places.timing import bench
from edgekd.preprocessing import Preprocessing, normalise, sample_inputs
from edgekd.results import MOST_CONFUSED
from edgekd.runtimes import predict_batches
from edgekd.tasks.intervals import paired_difference, score_number
from edgekd.tasks.task import Floats, Task, score_of

log = logging.getLogger(__name__)

HOST = "host"
HOST_THREADS = 1
_BATCH = 256
_SCORED: tuple[SplitName, ...] = ("val", "test")


@dataclass(frozen=True)
class Target:
    """What every file is held against. `splits` are val and test, empty without data; `inputs` is an .npy file of one
    model input, to time with; `seconds` is how long to."""

    profile: DeviceProfile
    preprocessing: Preprocessing
    task: Task
    splits: dict[str, Split]
    inputs: Path
    seconds: float


@dataclass(frozen=True)
class Examined:
    """What is known of one file in one runtime; recall is by class index, `validation` the score there, `statistics`
    (n, k) are those of the test samples that the score is a function of, `mistakes` the most frequent there: class,
    answer and how often."""

    figures: Figures
    estimate: Prediction
    recall: dict[str, float]
    validation: float | None
    statistics: Floats | None = None
    mistakes: tuple[tuple[int, int, int], ...] = ()


def examine(
    path: Path,
    timed: Path,
    runtime: str,
    target: Target,
    *,
    session: Mapping[str, Any] | None = None,
    teacher: Floats | None = None,
) -> Examined:
    """Count, time and score one file; `timed` is what is timed in its place, mostly itself, `session` are options of
    the runtime, and `teacher` are the statistics that its drop of score is paired with."""
    summary = summarise_file(path, arm=not is_x86_profile(target.profile))
    estimate = predict_summary(summary, target.profile, runtime=runtime)
    here = bench(
        timed,
        runtime=runtime,
        threads=HOST_THREADS,
        session=session,
        inputs=target.inputs,
        min_seconds=target.seconds,
    )
    figures = Figures(
        macs=summary.macs,
        params=summary.params,
        size_kib=size_kib(path),
        host=here,
        **_for_target(estimate, here),
    )
    if not target.splits:
        return Examined(figures, estimate, {}, None)
    task = target.task
    test, validation = (_outputs(path, target.splits[name], runtime, session, target) for name in ("test", "val"))
    truth, expected = (np.asarray(target.splits[name].labels) for name in ("test", "val"))
    statistics = task.statistics(test, truth)
    score = score_number(task, statistics, place=HOST)
    log.info("%s by %s scores %.2f %% on %d test samples", path.name, runtime, 100 * score.value, len(truth))
    drop = None if teacher is None else paired_difference(task, teacher, statistics, place=HOST)
    drop = drop and drop.model_copy(update={"unit": CANONICAL_UNITS["drop"]})
    figures = figures.model_copy(update={"score": score, "drop": drop, "metrics": task.metrics(test, truth)})
    shares = task.per_class(test, truth) if task.per_class else np.empty(0)
    recall = {str(k): float(share) for k, share in enumerate(shares) if np.isfinite(share)}
    mistakes = task.mistakes(test, truth)[:MOST_CONFUSED].tolist() if task.mistakes else []
    wrong = tuple((int(label), int(answer), int(count)) for label, answer, count in mistakes)
    return Examined(figures, estimate, recall, score_of(task, validation, expected), statistics, wrong)


def _for_target(estimate: Prediction, here: Bench) -> dict[str, Any]:
    if estimate.target == HOST:
        return for_host(here)
    # The predictor does not tell the median from the tail; its interval covers both.
    return {
        "latency_p50_ms": estimate.latency_ms,
        "latency_p95_ms": estimate.latency_ms,
        "peak_memory_kib": estimate.peak_memory_kib,
    }


def for_host(here: Bench) -> dict[str, Number]:
    """The figures for the target, where that is this machine."""
    steady = here.memory.steady_kib
    memory = Number(value=steady, low=steady, high=steady, unit="KiB", word="measured", place=HOST, n=1)
    return {
        "latency_p50_ms": here.latency.p50_ms,
        "latency_p95_ms": here.latency.p95_ms,
        "peak_memory_kib": memory,
    }


def _outputs(
    path: Path, split: Split, runtime: str, session: Mapping[str, Any] | None, target: Target
) -> npt.NDArray[np.float32]:
    def batches() -> Iterator[npt.NDArray[Any]]:
        for start in range(0, len(split), _BATCH):
            yield normalise(np.asarray(split.inputs[start : start + _BATCH]), target.preprocessing)

    every = target.task.every_output
    return predict_batches(path, batches(), every_output=every, runtime=runtime, options=session)


def scored_splits(data: Path, loaded: Path, task: Task) -> dict[str, Split]:
    """Validation and test, each as `scored_split`."""
    return {name: scored_split(data, loaded, task, name) for name in _SCORED}


def scored_split(data: Path, loaded: Path, task: Task, name: SplitName) -> Split:
    """A split with labels; where there are none, the teacher's own word takes their place."""
    split = open_split(data, name)
    if split.labels is not None:
        return split
    said = np.load(loaded / f"teacher_{name}_outputs.npy", allow_pickle=False)
    return Split(split.inputs, task.truth_of(said))


def write_one_input(path: Path, data: Path | None, preprocessing: Preprocessing) -> Path:
    """Write the first test input, or where there are no data a made-up one, as (1, ...): the same for every file."""
    if data is not None:
        value = normalise(np.asarray(open_split(data, "test").inputs[:1]), preprocessing)
    else:
        value = sample_inputs(1, preprocessing.shape, preprocessing.dtype)
    np.save(path, value)
    return path
