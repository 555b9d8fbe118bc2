"""Object detection: boxes held against boxes by mean average precision. Numpy only.

The score is mAP50: for each class the area under precision over recall, where an answer hits if it overlaps an object
of its class by half (COCO's rules of matching), averaged over the classes that occur. For its interval it must follow
from a mean over images; so answers are counted in `BINS` bins of confidence, and within a bin hits and misses are
taken to come in even succession. That moves it by less than 0.01 from the exact figure, which is the metric "map50".
"""

import numpy as np
import numpy.typing as npt

from edgekd.errors import BadInput
from edgekd.tasks.boxes import LEAST_CONFIDENCE, Detected, detect, hits, objects_of
from edgekd.tasks.task import Floats, Outputs, Task, Truth

BINS = 192
"""Of equal width in the logit of confidence, which tells the very sure apart as well as the unsure; the last begins at
a confidence of 0.9999."""
LOWEST_LOGIT = float(np.log(LEAST_CONFIDENCE / (1 - LEAST_CONFIDENCE)))
HIGHEST_LOGIT = -2 * LOWEST_LOGIT
CONFIDENT = 0.4
"""From this confidence on, what a teacher sees counts as an object where a student is held against its word."""
THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
RECALLS: Floats = np.linspace(0, 1, 101)
"""COCO's overlaps and points of recall."""
HALF, THREE_QUARTERS = 0, 5
NO_DETECTOR = 0.01


def statistics(outputs: Outputs, truth: Truth) -> Floats:
    """By class the hits at an overlap of 0.5 and the misses, each by bin of confidence, and the objects.

    Outputs (n, positions, classes + 4) and truth (n, objects, classes + 4) to (n, classes x (2 x BINS + 1)).
    """
    classes = outputs.shape[2] - 4
    rows = np.zeros((len(outputs), classes, 2 * BINS + 1))
    for row, answers, found, objects in zip(rows, *_matched(outputs, truth, THRESHOLDS[:1]), strict=True):
        with np.errstate(divide="ignore"):
            logits = np.log(answers.confidences) - np.log1p(-answers.confidences)
        bins = np.clip((logits - LOWEST_LOGIT) / (HIGHEST_LOGIT - LOWEST_LOGIT) * BINS, 0, BINS - 1).astype(np.int64)
        np.add.at(row, (answers.classes, np.where(found[0], bins, bins + BINS)), 1)
        row[:, -1] = objects[:, :classes].sum(axis=0)
    return rows.reshape(len(outputs), -1)


def score(mean_statistics: Floats) -> Floats:
    """mAP50 of mean statistics (..., k): (...); 0 where there is no object."""
    rows = mean_statistics.reshape(*mean_statistics.shape[:-1], -1, 2 * BINS + 1)
    right, wrong = (np.cumsum(part[..., ::-1], axis=-1) for part in (rows[..., :BINS], rows[..., BINS:-1]))
    precision = np.divide(right, right + wrong, out=np.zeros_like(right), where=right > 0)
    best = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
    before = np.concatenate([best[..., :1], best[..., :-1]], axis=-1)
    area: Floats = (np.diff(right, axis=-1, prepend=0.0) * (best + before) / 2).sum(axis=-1)
    occurs = rows[..., -1] > 0
    average = np.divide(area, rows[..., -1], out=np.zeros_like(area), where=occurs)
    return np.asarray(average.sum(axis=-1) / np.maximum(occurs.sum(axis=-1), 1))


def metrics(outputs: Outputs, truth: Truth) -> dict[str, float]:
    """COCO's figures with up to 100 answers an image: map (mean over overlaps of 0.5 to 0.95), map50, map75, and recall
    (the share of objects that are found, mean over the same overlaps). Classes without an object do not count."""
    precision, recall = _by_class(outputs, truth, THRESHOLDS)
    occurs = np.isfinite(recall[0])
    if not occurs.any():
        return {"map": 0.0, "map50": 0.0, "map75": 0.0, "recall": 0.0}
    return {
        "map": float(precision[:, occurs].mean()),
        "map50": float(precision[HALF, occurs].mean()),
        "map75": float(precision[THREE_QUARTERS, occurs].mean()),
        "recall": float(recall[:, occurs].mean()),
    }


def average_precision(outputs: Outputs, truth: Truth) -> Floats:
    """Exact average precision at an overlap of 0.5 by class (classes,), NaN for a class without objects."""
    precision, _ = _by_class(outputs, truth, THRESHOLDS[:1])
    return np.asarray(precision[0])


def truth_of(outputs: Outputs) -> npt.NDArray[np.float32]:
    """What a detector says of n images as if it were true: float32 (n, objects, classes + 4), its confident answers."""
    classes = outputs.shape[2] - 4
    sure = []
    for said in outputs:
        answers = detect(said)
        count = int((answers.confidences >= CONFIDENT).sum())
        sure.append(np.hstack([np.eye(classes)[answers.classes[:count]], answers.boxes[:count]]))
    truth = np.zeros((len(outputs), max(1, *map(len, sure)), classes + 4), np.float32)
    for row, found in zip(truth, sure, strict=True):
        row[: len(found)] = found
    return truth


def mirrored(truth: Truth, width: int) -> Truth:
    """Truth (n, objects, classes + 4) of images of `width` pixels that are flipped left to right."""
    flipped = truth.copy()
    is_object = truth[..., :-4].any(axis=-1)
    flipped[..., -4] = np.where(is_object, width - truth[..., -2], 0)
    flipped[..., -2] = np.where(is_object, width - truth[..., -4], 0)
    return flipped


def near_chance(value: float, truth: Truth, outputs: int) -> str | None:
    """Say so where a teacher finds as good as nothing; else None."""
    if value >= NO_DETECTOR:
        return None
    return (
        f"teacher scores {100 * value:.2f} % mAP50, so it finds as good as nothing: weights not loaded, wrong "
        "normalisation, wrong class order, or boxes that are not x1, y1, x2, y2 in pixels of the model's input?"
    )


def check(shape: tuple[int, ...], labels: Truth | None) -> None:
    """Refuse outputs other than logits and boxes side by side, and labels of other classes. Raises BadInput."""
    if labels is None:
        raise BadInput(
            "detection is learned and scored by boxes, and the data have none; give --data a folder with a coco.json, "
            "or hold the student against its teacher alone with --task generic"
        )
    if labels.ndim != 3 or labels.shape[2] < 5:
        raise BadInput(
            f"a label has the shape {labels.shape[1:]}, where boxes are (objects, classes + 4): a 1 at the class among "
            "zeros, then x1, y1, x2, y2"
        )
    if len(shape) != 3 or shape[2] < 5:
        raise _no_detector(str(shape[1:]))
    if shape[2] != labels.shape[2]:
        raise BadInput(
            f"the model tells {shape[2] - 4} classes apart and the data name {labels.shape[2] - 4}; data and model "
            "must have the same classes in the same order"
        )


def check_outputs(shapes: tuple[tuple[int, ...], ...]) -> None:
    """Refuse a model whose outputs, each of this shape for a sample, are not logits and boxes. Raises BadInput."""
    two = len(shapes) == 2 and all(len(shape) == 2 for shape in shapes) and shapes[0][0] == shapes[1][0]
    if not two or shapes[1][1] != 4:
        raise _no_detector(", ".join(map(str, shapes)))


def _no_detector(given: str) -> BadInput:
    return BadInput(
        "a detector gives two outputs, class logits (positions, classes) and boxes (positions, 4) as x1, y1, x2, y2 in "
        f"pixels of its input, but this model gives {given}; decode boxes inside the model, or hold raw maps against "
        "the teacher's with --task generic --loss dense_heads"
    )


def _matched(
    outputs: Outputs, truth: Truth, thresholds: Floats
) -> tuple[list[Detected], list[npt.NDArray[np.bool_]], list[Truth]]:
    """By image: the answers, which of them hit by least overlap, and the objects."""
    answers, objects = [detect(said) for said in outputs], [objects_of(rows) for rows in truth]
    return answers, [hits(a, o, thresholds) for a, o in zip(answers, objects, strict=True)], objects


def _by_class(outputs: Outputs, truth: Truth, thresholds: Floats) -> tuple[Floats, Floats]:
    """COCO's average precision and largest recall (thresholds, classes); NaN for classes without objects."""
    answers, found, objects = _matched(outputs, truth, thresholds)
    kinds = np.concatenate([each.classes for each in answers])
    confidences, right = np.concatenate([each.confidences for each in answers]), np.concatenate(found, axis=1)
    classes = outputs.shape[2] - 4
    counts = sum((rows[:, :classes].sum(axis=0) for rows in objects), np.zeros(classes))
    precision, recall = (np.full((len(thresholds), classes), np.nan) for _ in range(2))
    for kind in np.flatnonzero(counts):
        own = np.flatnonzero(kinds == kind)
        order = own[np.argsort(-confidences[own], kind="stable")]
        so_far = np.cumsum(right[:, order], axis=1)
        for at, hit in enumerate(so_far):
            envelope = np.maximum.accumulate((hit / np.arange(1, len(hit) + 1))[::-1])[::-1]
            points = np.searchsorted(hit / counts[kind], RECALLS, side="left")
            precision[at, kind] = np.append(envelope, 0.0)[points].mean()
            recall[at, kind] = hit[-1] / counts[kind] if len(hit) else 0.0
    return precision, recall


DETECTION = Task(
    name="detection",
    score_name="mAP50",
    fidelity_name="mAP50 against the teacher",
    label_loss="detection",
    distill_loss="dense_boxes",
    output="logits",
    further_outputs=("boxes",),
    truth_of=truth_of,
    statistics=statistics,
    score=score,
    metrics=metrics,
    chance=lambda truth, outputs: 0.0,
    near_chance=near_chance,
    doubt=lambda outputs: None,
    check=check,
    check_outputs=check_outputs,
    mirrored=mirrored,
    per_class=average_precision,
    per_class_name="average precision",
    every_output=True,
)
