"""What the data say about quantization: calibration inputs, and validation scores of files."""

import logging
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from edgekd.data.split import open_split
from edgekd.device import DeviceProfile
from edgekd.errors import BadInput
from edgekd.examine import scored_split
from edgekd.external_data import graph_digest
from edgekd.latency.predictor import predict
from edgekd.preprocessing import Preprocessing, normalise
from edgekd.runtimes import predict_batches
from edgekd.schemes.calibration import CalibrationData, RangeTable, check_calibration
from edgekd.schemes.oracle import judge_fusion
from edgekd.schemes.quantizer import prepare
from edgekd.schemes.ranges import float_tensors, read_ranges
from edgekd.tasks.task import Task, score_of
from edgekd.workspace import file_sha256

log = logging.getLogger(__name__)

SCORED = 2048
"""Validation samples that int8 schemes are held against while they are looked for; each is scored several times."""
_BATCH = 256


def calibration_inputs(
    data: Path, preprocessing: Preprocessing, *, count: int, classes: int, seed: int, tables: Path
) -> tuple[CalibrationData, tuple[str, ...]]:
    """Return a seeded sample of the training split, and warnings about it.

    Images are held against the range of what the teacher was scored on; whether there are some of every class is
    looked at where all of train is labelled. `tables` is the folder that keeps what is found with them.

    Raises:
        BadInput: data that would poison every int8 file (NaN, infinite, constant, wrongly scaled).
    """
    train, scored = open_split(data, "train"), open_split(data, "val")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(train))[:count])
    prepare = partial(normalise, how=preprocessing)
    calibration = CalibrationData(train.inputs, chosen, prepare, tables)
    labels = train.labels
    by_class = labels is not None and labels.dtype.kind != "f" and len(labels) == len(train)
    seen = CalibrationData(scored.inputs[:count], prepare=prepare)
    warnings = check_calibration(
        calibration,
        np.asarray(labels, np.int64)[chosen] if by_class else None,
        classes=classes,
        teacher_range=None if preprocessing.identity else seen.value_range(),
    )
    return calibration, warnings


def stored_ranges(path: Path, model: Path, *, used: Collection[str]) -> RangeTable:
    """Read a table of ranges for the float file `model`; `used` are the methods of the schemes that compete.

    Raises:
        BadInput: it is no such table, of another graph or method, or a range of it is no range.
    """
    table = read_ranges(path)
    graph = prepare(model).graph
    if table.graph != graph_digest(graph):
        raise BadInput(f"{path} holds the ranges of another graph than {model.name}; leave --ranges out.")
    if table.method not in used:
        raise BadInput(f"{path} holds ranges by {table.method}, and no scheme that competes takes them so; name one.")
    missing = sorted(set(float_tensors(graph)) - set(table.ranges))
    if missing:
        raise BadInput(f"{path} has no range of tensor {missing[0][:80]!r}; leave --ranges out.")
    wrong = next((name for name, (low, high) in table.ranges.items() if not -np.inf < low <= high < np.inf), None)
    if wrong is not None:
        raise BadInput(f"{path}: the range of tensor {wrong[:80]!r} is none; leave --ranges out.")
    return table


def training_inputs(data: Path, preprocessing: Preprocessing) -> CalibrationData:
    """Return all inputs of the training split."""
    return CalibrationData(open_split(data, "train").inputs, prepare=partial(normalise, how=preprocessing))


def scorer(data: Path, loaded: Path, task: Task, preprocessing: Preprocessing, *, seed: int) -> Callable[[Path], float]:
    """Return a function from an ONNX file to its score on at most `SCORED` samples of validation, in ONNX Runtime.

    The same file is scored once. Where there are no labels, the teacher's word takes their place.
    """
    split = scored_split(data, loaded, task, "val")
    rows = np.sort(np.random.default_rng(seed).permutation(len(split))[:SCORED])
    truth = np.asarray(split.labels)[rows]
    known: dict[str, float] = {}

    def batches() -> Iterator[npt.NDArray[Any]]:
        for start in range(0, len(rows), _BATCH):
            yield normalise(np.asarray(split.inputs[rows[start : start + _BATCH]]), preprocessing)

    def score(path: Path) -> float:
        digest = file_sha256(path)
        if digest not in known:
            known[digest] = score_of(task, predict_batches(path, batches(), every_output=task.every_output), truth)
        return known[digest]

    return score


def blocks_better_float(path: Path, *, model: Path, profile: DeviceProfile) -> tuple[str, ...]:
    """Nodes of an int8 file that had better be float on a device, `model` being the float file."""
    return judge_fusion(model, path, profile).leave_float


def estimated_ms(graph: ModelProto, *, profile: DeviceProfile) -> float:
    """Estimated milliseconds of a graph on a device; 0 where it cannot be counted, which is logged."""
    try:
        latency = predict(graph, profile).latency_ms
    except BadInput as error:
        log.info("latency is left out of the search: %s", error)
        return 0.0
    return latency.value if latency else 0.0
