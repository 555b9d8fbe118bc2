"""Stage 5: score every exported model by its runtime, time and weigh it here, and estimate it for the target."""

import logging
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgekd.device import DeviceProfile
from edgekd.errors import BadInput, EdgekdError
from edgekd.examine import HOST, HOST_THREADS, Examined, Target, examine, scored_splits, write_one_input
from edgekd.external_data import size_kib
from edgekd.figures import Figures, Number
from edgekd.latency.predictor import Prediction
from edgekd.numerics import is_arm
from edgekd.places.timing import compare
from edgekd.preprocessing import Preprocessing
from edgekd.progress import Listener, Tick
from edgekd.quantization import SchemeFile
from edgekd.record import Record
from edgekd.results import Candidate
from edgekd.runtimes import RUNTIMES
from edgekd.schemes.offered import PRECISION, offered, on_this_machine, session_options
from edgekd.schemes.twin import needs_twin
from edgekd.tasks.task import Floats, Task
from edgekd.workspace import file_sha256

log = logging.getLogger(__name__)

_REFERENCE = Number(value=1.0, low=1.0, high=1.0, unit="x", word="measured", place=HOST)
"""What fp32 costs relative to itself."""


HOPELESS = 1.1
"""Cost relative to the other beyond which no more runs are spent on how much slower exactly."""


class Contender(Record):
    """A file to be examined under one runtime, with the session options that it runs with on the device. `timed_as` is
    the file timed on the host in its place; `rejected` says why it is listed without being examined."""

    id: str
    scheme: str
    runtime: str
    file: str
    session: dict[str, Any] = {}
    timed_as: str | None = None
    sqnr_db: float | None = None
    operators: dict[str, int] = {}
    rejected: str | None = None


class Benchmarked(Record):
    """Figures of the exported models by who they are, and of the candidates by runtime."""

    models: dict[str, Figures]
    candidates: tuple[Candidate, ...]
    rejected: dict[str, str]
    """Candidate id to the reason why it may not ship: broken by its scheme, or refused by its runtime."""
    validation: dict[str, float]
    """Candidate id to its score on validation, which decides; the test score only reports."""
    per_class: dict[str, dict[str, float]]
    """Class index as text to recall by model or candidate id."""
    mistakes: dict[str, tuple[tuple[int, int, int], ...]] = {}
    """Model or candidate id to class index, answer and how often, the most frequent mistakes on test."""
    test_samples: dict[str, int] = {}
    """Class index as text to the samples of it in test, where mistakes are known."""
    latency_by_operator: dict[str, dict[str, float]]
    """Candidate id to milliseconds on the target by operator class, estimated or, from an emulated core, counted."""
    notes: tuple[str, ...]


def benchmark(
    *,
    models: dict[str, Path],
    contenders: tuple[Contender, ...],
    files: Path,
    profile: DeviceProfile,
    preprocessing: Preprocessing,
    task: Task,
    data: Path | None,
    loaded: Path,
    notes: tuple[str, ...],
    seconds: float,
    listen: Listener,
) -> Benchmarked:
    """Examine teacher, student and control as exported (`models`), and every contender.

    Where the profile is this machine, latency and memory for the target are measured; else they are estimated, and
    what was measured here stays apart in `host`. A contender that its runtime does not load or run is rejected.

    Args:
        loaded: the load stage's folder, with what the teacher says of the splits in `data`.

    Raises:
        BadInput: a model, or fp32 in ONNX Runtime, which all others are compared with, cannot be run.
    """
    splits = scored_splits(data, loaded, task) if data else {}
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        inputs = write_one_input(Path(folder) / "input.npy", data, preprocessing)
        target = Target(profile, preprocessing, task, splits, inputs, seconds)
        return _examine_all(models, contenders, files, target, notes=notes, listen=listen)


def _examine_all(
    models: dict[str, Path],
    contenders: tuple[Contender, ...],
    files: Path,
    target: Target,
    *,
    notes: tuple[str, ...],
    listen: Listener,
) -> Benchmarked:
    steps = [*models, *(c.id for c in contenders)]
    known: dict[str, Examined] = {}
    for who, path in models.items():
        listen(Tick("benchmark", steps.index(who), len(steps), who))
        known[who] = examine(path, path, "onnxruntime", target, teacher=_of_teacher(known))
    baseline = next(c for c in contenders if c.scheme == "fp32" and c.runtime == "onnxruntime")
    rejected: dict[str, str] = {}
    candidates = []
    for contender in contenders:
        listen(Tick("benchmark", steps.index(contender.id), len(steps), contender.id))
        found, ratio, reason = _compete(contender, baseline, files, target, teacher=_of_teacher(known))
        if found is not None:
            known[contender.id] = found
        if reason is not None:
            rejected[contender.id] = reason
            log.info("%s is out: %s", contender.id, reason)
        candidates.append(_candidate(contender, files, found, ratio, target.profile))
    listen(Tick("benchmark", len(steps), len(steps), "all timed"))
    competing = [c.id for c in contenders if c.id in known]
    validation = {name: known[name].validation for name in competing}
    return Benchmarked(
        models={who: known[who].figures for who in models},
        candidates=tuple(candidates),
        rejected=rejected,
        validation={name: score for name, score in validation.items() if score is not None},
        per_class=_per_class(known),
        mistakes={who: found.mistakes for who, found in known.items() if found.mistakes},
        test_samples=_samples(target),
        latency_by_operator={name: known[name].estimate.by_operator for name in competing},
        notes=notes,
    )


def contend(
    files: tuple[SchemeFile, ...], profile: DeviceProfile, runtimes: tuple[str, ...]
) -> tuple[tuple[Contender, ...], tuple[str, ...]]:
    """Pair every scheme with every runtime of `runtimes` that the device has and that is installed here, and say which
    runtimes that leaves out."""
    contenders: list[Contender] = []
    notes: list[str] = []
    for runtime in runtimes:
        if runtime not in profile.runtimes:
            notes.append(f"{runtime} is not in the profile of {profile.name}, so it did not compete")
        elif not RUNTIMES[runtime].available():
            notes.append(f"{runtime} is not installed here, so it did not compete; {RUNTIMES[runtime].install} adds it")
        else:
            for file in files:
                if offered(file.scheme, runtime, profile) is None:
                    contenders.append(_contender(file, runtime, profile))
    return tuple(contenders), (*notes, *_run_otherwise(contenders))


def _run_otherwise(contenders: list[Contender]) -> list[str]:
    """Which contenders this machine cannot run in the device's precision."""
    return [
        f"{c.id} computes in {c.session[PRECISION]} on the device and in f32 here, where it was timed and scored"
        for c in contenders
        if on_this_machine(c.session) != c.session
    ]


def _contender(file: SchemeFile, runtime: str, profile: DeviceProfile) -> Contender:
    return Contender(
        id=f"{file.scheme}-{runtime}",
        scheme=file.scheme,
        runtime=runtime,
        file=file.file,
        session=session_options(file.scheme, runtime, profile),
        timed_as=file.twin,
        sqnr_db=file.sqnr_db,
        operators=file.operators,
        rejected=file.rejected,
    )


def _compete(
    contender: Contender, baseline: Contender, files: Path, target: Target, *, teacher: Floats | None
) -> tuple[Examined | None, Number | None, str | None]:
    """What is known of a contender, its cost relative to the baseline, and the reason why it is out, if it is."""
    found: Examined | None = None
    try:
        if contender.rejected:
            raise BadInput(contender.rejected)
        timed, session = files / (contender.timed_as or contender.file), on_this_machine(contender.session)
        found = examine(files / contender.file, timed, contender.runtime, target, session=session, teacher=teacher)
        if contender is baseline:
            return found, _REFERENCE, None
        ratio = head_to_head(baseline, contender, files=files, inputs=target.inputs, seconds=target.seconds)
    except EdgekdError as error:  # refused by the runtime, or it died
        if contender is baseline:
            raise
        return found, None, str(error).replace(f"{files.absolute()}{os.sep}", "")
    return found, ratio, None


def head_to_head(
    one: Contender | Candidate, other: Contender | Candidate, *, files: Path, inputs: Path, seconds: float
) -> Number:
    """What the other costs relative to the one, run in turns here; a twin stands for the file that it belongs to."""
    a, b = (files / (c.timed_as or c.file) for c in (one, other))
    session_a, session_b = (on_this_machine({**c.session, "threads": HOST_THREADS}) for c in (one, other))
    return compare(
        a,
        b,
        runtime_a=one.runtime,
        runtime_b=other.runtime,
        session_a=session_a,
        session_b=session_b,
        inputs=inputs,
        min_seconds=seconds,
        hopeless=HOPELESS,
    )


def _candidate(
    contender: Contender, files: Path, found: Examined | None, ratio: Number | None, profile: DeviceProfile
) -> Candidate:
    path = files / contender.file
    figures = found.figures if found else Figures(size_kib=size_kib(path))
    return Candidate(
        **dict(figures),
        id=contender.id,
        scheme=contender.scheme,
        runtime=contender.runtime,
        session={"threads": _threads(found.estimate), **contender.session} if found else contender.session,
        file=contender.file,
        sha256=file_sha256(path),
        timed_as=contender.timed_as,
        host_ratio_to_fp32=ratio,
        sqnr_db=contender.sqnr_db,
        operators=contender.operators,
        scored_on=_foreign_score(path, profile) if figures.score else None,
    )


def _foreign_score(path: Path, profile: DeviceProfile) -> str | None:
    """This machine's architecture, where its kernels for a file's signed activations are not the target's."""
    foreign = is_arm(profile.isa) and needs_twin(onnx.load(path, load_external_data=False))
    return platform.machine() if foreign else None


def _threads(estimate: Prediction) -> int:
    """Threads that the latency for the target is for."""
    return HOST_THREADS if estimate.target == HOST else estimate.threads


def _of_teacher(known: dict[str, Examined]) -> Floats | None:
    """What every drop of score is paired with: the teacher's hits, or other statistics, on test."""
    return known["teacher"].statistics if "teacher" in known else None


def _samples(target: Target) -> dict[str, int]:
    """Test samples by class index, where answers are classes."""
    if target.task.mistakes is None or not target.splits:
        return {}
    classes, counts = np.unique(np.asarray(target.splits["test"].labels), return_counts=True)
    return {str(index): int(count) for index, count in zip(classes, counts, strict=True)}


def _per_class(known: dict[str, Examined]) -> dict[str, dict[str, float]]:
    """Recall by class index, then by model or candidate."""
    recalls: dict[str, dict[str, float]] = {}
    for who, found in known.items():
        for index, value in found.recall.items():
            recalls.setdefault(index, {})[who] = value
    return recalls
