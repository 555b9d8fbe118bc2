"""Boxes in numpy: how they overlap, which of a detector's answers count, and which of those hit an object.

A box is x1, y1, x2, y2 in pixels. What a detector says of an image is one row a position: a logit per class, each a
sigmoid's, then the box, (positions, classes + 4). Truth is one row an object: a 1 at its class among zeros, then the
box; rows without a class are padding.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]

NMS_IOU = 0.6
"""Of two boxes of one class that overlap by more than this, the less confident is taken for a double."""
LEAST_CONFIDENCE = 0.01
"""Below it an answer is none: such ones come after all that count."""
MOST_CANDIDATES = 1000
MOST_ANSWERS = 100
"""Of an image, after doubles are gone: COCO's largest `maxDets`."""


@dataclass(frozen=True)
class Detected:
    """The answers for one image, most confident first: classes int64 (n,), confidences (n,), 0..1, boxes (n, 4)."""

    classes: npt.NDArray[np.int64]
    confidences: Floats
    boxes: Floats


def overlap(ours: Values, theirs: Values) -> Floats:
    """Intersection over union of boxes (n, 4) with boxes (m, 4): (n, m), 0 where either is empty or no number."""
    return _overlap([side[:, None] for side in ours.T.astype(np.float64)], list(theirs.T.astype(np.float64)))


def detect(said: Values, *, least: float = LEAST_CONFIDENCE, nms_iou: float = NMS_IOU) -> Detected:
    """The answers in what a detector says of one image, (positions, classes + 4), from a confidence of `least` on and
    without doubles (greedy NMS)."""
    classes = said.shape[1] - 4
    with np.errstate(over="ignore", invalid="ignore"):
        confidences = (1 / (1 + np.exp(-said[:, :classes].astype(np.float64)))).ravel()
        found = np.flatnonzero(confidences >= least)
    found = found[np.argsort(-confidences[found], kind="stable")][:MOST_CANDIDATES]
    position, kind = np.divmod(found, classes)
    boxes = said[position, classes:].astype(np.float64)
    left, sides = np.arange(len(found)), boxes.T
    kept: list[int] = []
    while len(left) and len(kept) < MOST_ANSWERS:
        best, left, sides = int(left[0]), left[1:], sides[:, 1:]
        kept.append(best)
        alone = (_overlap(list(boxes[best]), list(sides)) <= nms_iou) | (kind[left] != kind[best])
        left, sides = left[alone], sides[:, alone]
    return Detected(kind[kept].astype(np.int64), confidences[found][kept], boxes[kept])


def hits(answers: Detected, objects: Values, thresholds: Floats) -> npt.NDArray[np.bool_]:
    """Which answers hit an object of their class, by least overlap: bool (thresholds, answers).

    As COCO matches: from the most confident on, an answer takes the object that it overlaps most among those that are
    left. `objects` are truth rows (m, classes + 4) without padding.
    """
    classes = objects.shape[1] - 4
    overlaps = overlap(answers.boxes, objects[:, classes:])
    same = answers.classes[:, None] == objects[:, :classes].argmax(axis=1)[None]
    found = np.zeros((len(thresholds), len(answers.classes)), bool)
    free, row = np.ones((len(thresholds), len(objects)), bool), np.arange(len(thresholds))
    for at in np.flatnonzero((same & (overlaps > 0)).any(axis=1)):
        open_to = np.where(free & same[at], overlaps[at], -1.0)
        best = open_to.argmax(axis=1)
        found[:, at] = open_to[row, best] >= thresholds
        free[row, best] &= ~found[:, at]
    return found


def objects_of(truth: Values) -> Values:
    """The rows (m, classes + 4) of one image's truth that are no padding."""
    return truth[truth[:, :-4].any(axis=1)]


def _overlap(ours: list[Floats], theirs: list[Floats]) -> Floats:
    """`overlap` of the four sides, each by itself: numpy is slow along axes of two or four."""
    with np.errstate(invalid="ignore", over="ignore"):
        width = np.minimum(ours[2], theirs[2]) - np.maximum(ours[0], theirs[0])
        height = np.minimum(ours[3], theirs[3]) - np.maximum(ours[1], theirs[1])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (ours, theirs)]
        overlaps = np.divide(shared, areas[0] + areas[1] - shared, out=np.zeros(np.shape(shared)), where=shared > 0)
    return np.asarray(overlaps)
