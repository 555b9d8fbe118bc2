"""Stage 5: score every exported model by its runtime, time and weigh it here, and estimate it for the target."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from edgekd.data.materialise import open_split
from edgekd.data.split import Split
from edgekd.device import DeviceProfile
from edgekd.errors import UsageError, did_you_mean
from edgekd.latency.graph import summarise
from edgekd.latency.predictor import predict
from edgekd.places.host import bench, compare
from edgekd.preprocessing import Preprocessing, normalise
from edgekd.progress import Listener, Tick
from edgekd.record import Record
from edgekd.results import Bench, Candidate, Figures, Number, SchemeFile
from edgekd.runtimes import RUNTIMES, predict_batches
from edgekd.tasks.classification import CLASSIFICATION, score_number
from edgekd.workspace import file_sha256

log = logging.getLogger(__name__)

HOST = "host"
_BATCH = 256


class Contender(Record):
    """A file to be examined under one runtime. `timed_as` is the file timed on the host in its place."""

    id: str
    scheme: str
    runtime: str
    file: str
    timed_as: str | None = None
    sqnr_db: float | None = None
    operators: dict[str, int] = {}


class Benchmarked(Record):
    """Figures of the exported models by who they are, and of the candidates by runtime."""

    models: dict[str, Figures]
    candidates: tuple[Candidate, ...]
    validation: dict[str, float]
    """Candidate id to its score on validation, which decides; the test score only reports."""
    per_class: dict[str, dict[str, float]]
    """Class index as text to recall by model or candidate id."""
    latency_by_operator: dict[str, dict[str, float]]
    """Candidate id to estimated milliseconds on the target by operator class."""
    notes: tuple[str, ...]


def benchmark(
    *,
    models: dict[str, Path],
    contenders: tuple[Contender, ...],
    files: Path,
    profile: DeviceProfile,
    preprocessing: Preprocessing,
    data: Path | None,
    teacher_logits: Path,
    notes: tuple[str, ...],
    seconds: float,
    listen: Listener,
) -> Benchmarked:
    """Examine teacher, student and control as exported (`models`), and every contender.

    Where the profile is this machine, latency and memory for the target are measured; else they are estimated, and
    what was measured here stays apart in `host`.
    """
    splits = _scored_splits(data, teacher_logits) if data else {}
    steps = [*models, *(c.id for c in contenders)]
    figures: dict[str, Figures] = {}
    recalls: dict[str, dict[str, float]] = {}
    for who, path in models.items():
        listen(Tick("benchmark", steps.index(who), len(steps), who))
        figures[who], recall, _ = _examine(path, path, "onnxruntime", profile, preprocessing, splits, seconds)
        _add_recall(recalls, who, recall)
    candidates, validation, operators = [], {}, {}
    baseline = next(c for c in contenders if c.scheme == "fp32" and c.runtime == "onnxruntime")
    for contender in contenders:
        listen(Tick("benchmark", steps.index(contender.id), len(steps), contender.id))
        path = files / contender.file
        timed = files / (contender.timed_as or contender.file)
        found, recall, score = _examine(path, timed, contender.runtime, profile, preprocessing, splits, seconds)
        _add_recall(recalls, contender.id, recall)
        operators[contender.id] = predict(onnx.load(path), profile, runtime=contender.runtime).by_operator
        if score is not None:
            validation[contender.id] = score
        ratio = None if contender is baseline else _ratio(files / baseline.file, timed, contender, profile, seconds)
        candidates.append(_candidate(contender, path, found, ratio))
    listen(Tick("benchmark", len(steps), len(steps), "all timed"))
    return Benchmarked(
        models=figures,
        candidates=tuple(candidates),
        validation=validation,
        per_class=recalls,
        latency_by_operator=operators,
        notes=notes,
    )


def contend(
    files: tuple[SchemeFile, ...], profile: DeviceProfile, wanted: str
) -> tuple[tuple[Contender, ...], tuple[str, ...]]:
    """Pair every scheme with every runtime that was asked for, that the device has, and that is installed here.

    Raises:
        UsageError: a runtime that does not exist.
    """
    contenders: list[Contender] = []
    notes: list[str] = []
    for runtime in dict.fromkeys(["onnxruntime", *(name.strip() for name in wanted.split(",") if name.strip())]):
        if runtime not in RUNTIMES:
            raise UsageError(f"There is no runtime {runtime!r}{did_you_mean(runtime, RUNTIMES)}")
        if runtime not in profile.runtimes:
            continue
        if not RUNTIMES[runtime].available():
            notes.append(f"{runtime} is not installed here, so it did not compete; {RUNTIMES[runtime].install} adds it")
            continue
        contenders += [_contender(f, runtime) for f in files if (f.scheme, runtime) not in _NOT_OFFERED]
    return tuple(contenders), tuple(notes)


_NOT_OFFERED = {("int8_dynamic", "openvino")}
"""OpenVINO has no kernels for ONNX Runtime's dynamic int8 operators."""


def _contender(file: SchemeFile, runtime: str) -> Contender:
    return Contender(
        id=f"{file.scheme}-{runtime}",
        scheme=file.scheme,
        runtime=runtime,
        file=file.file,
        timed_as=file.twin,
        sqnr_db=file.sqnr_db,
        operators=file.operators,
    )


def _scored_splits(data: Path, teacher_logits: Path) -> dict[str, Split]:
    """Validation and test; where there are no labels, the teacher's own answers take their place (agreement)."""
    splits = {}
    for name in ("val", "test"):
        split = open_split(data, name)
        if split.labels is None:
            answers = np.load(teacher_logits / f"teacher_{name}_logits.npy", allow_pickle=False).argmax(1)
            split = Split(split.images, answers)
        splits[name] = split
    return splits


def _examine(
    path: Path,
    timed: Path,
    runtime: str,
    profile: DeviceProfile,
    preprocessing: Preprocessing,
    splits: dict[str, Split],
    seconds: float,
) -> tuple[Figures, dict[str, float], float | None]:
    """Figures of one file, recall by class index, and its score on validation."""
    model = onnx.load(path)
    summary = summarise(model)
    here = bench(timed, runtime=runtime, threads=1, min_seconds=seconds)
    figures = Figures(
        macs=summary.macs, params=summary.params, size_kib=round(path.stat().st_size / 1024, 1), host=here
    )
    figures = figures.model_copy(update=_for_target(model, runtime, profile, here))
    if not splits:
        return figures, {}, None
    (test, labels), (validation, expected) = (
        (_logits(path, splits[name], runtime, preprocessing), np.asarray(splits[name].labels))
        for name in ("test", "val")
    )
    score = score_number(test.argmax(1) == labels, place=HOST)
    log.info("%s by %s scores %.2f %% on %d test images", path.name, runtime, 100 * score.value, len(labels))
    figures = figures.model_copy(update={"score": score, "metrics": CLASSIFICATION.metrics(test, labels)})
    recall = {str(k): float((test[labels == k].argmax(1) == k).mean()) for k in np.unique(labels)}
    return figures, recall, float((validation.argmax(1) == expected).mean())


def _for_target(model: onnx.ModelProto, runtime: str, profile: DeviceProfile, here: Bench) -> dict[str, Number | None]:
    if profile.name == HOST:
        steady = here.memory.steady_kib
        memory = Number(value=steady, low=steady, high=steady, unit="KiB", word="measured", place=HOST, n=1)
        return {
            "latency_p50_ms": here.latency.p50_ms,
            "latency_p95_ms": here.latency.p95_ms,
            "peak_memory_kib": memory,
        }
    estimate = predict(model, profile, runtime=runtime)
    # The predictor does not tell the median from the tail; its interval covers both.
    return {
        "latency_p50_ms": estimate.latency_ms,
        "latency_p95_ms": estimate.latency_ms,
        "peak_memory_kib": estimate.peak_memory_kib,
    }


def _ratio(baseline: Path, timed: Path, contender: Contender, profile: DeviceProfile, seconds: float) -> Number:
    return compare(baseline, timed, runtime_a="onnxruntime", runtime_b=contender.runtime, min_seconds=seconds)


def _candidate(contender: Contender, path: Path, figures: Figures, ratio: Number | None) -> Candidate:
    return Candidate(
        **dict(figures),
        id=contender.id,
        scheme=contender.scheme,
        runtime=contender.runtime,
        session={"threads": 1},
        file=contender.file,
        sha256=file_sha256(path),
        timed_as=contender.timed_as,
        host_ratio_to_fp32=ratio,
        sqnr_db=contender.sqnr_db,
        operators=contender.operators,
    )


def _logits(path: Path, split: Split, runtime: str, preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    def batches() -> Iterator[npt.NDArray[np.float32]]:
        for start in range(0, len(split), _BATCH):
            yield normalise(np.asarray(split.images[start : start + _BATCH]), preprocessing)

    return predict_batches(path, batches(), runtime=runtime)


def _add_recall(recalls: dict[str, dict[str, float]], who: str, recall: dict[str, float]) -> None:
    for index, value in recall.items():
        recalls.setdefault(index, {})[who] = value
