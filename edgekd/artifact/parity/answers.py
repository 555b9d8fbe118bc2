"""What an app is to answer: classes or boxes from a model's outputs, in numpy, and how far two answers are apart.

This is the task's own meaning of the outputs, independent of any graph: what a packaged graph or program answers is
held against it.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgekd.artifact.contract import Contract
from edgekd.record import Record
from edgekd.tasks.boxes import Detected, detect, overlap

BEST = 5
"""Classes that are answered, of as many or more."""
SAME_BOX = 0.5
"""Least overlap of two boxes that are one object, as in the first COCO and PASCAL scores."""
Outputs = Sequence[npt.NDArray[np.float32]]
Size = tuple[int, int]
"""(height, width) of an image."""


class Vector(Record):
    """The answer for one input. Of classes `indices`, `labels` and `probabilities`, the likeliest first; of boxes
    `indices`, `labels`, `scores` and `boxes` (x1, y1, x2, y2 in pixels of the raw image), the most confident first; of
    outputs as they come nothing."""

    labels: tuple[str, ...] = ()
    indices: tuple[int, ...] = ()
    probabilities: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    boxes: tuple[tuple[float, float, float, float], ...] = ()


def answers_of(contract: Contract, outputs: Outputs, sizes: Sequence[Size]) -> list[Vector]:
    """The answers in outputs, each (n, ...), of inputs whose raw images have these sizes."""
    if contract.answer == "classes":
        return [classes_of(contract, logits) for logits in outputs[0]]
    if contract.answer == "boxes":
        rows = zip(*outputs[:2], sizes, strict=True)
        return [boxes_of(contract, logits, boxes, size) for logits, boxes, size in rows]
    return [Vector() for _ in outputs[0]]


def classes_of(contract: Contract, logits: npt.NDArray[np.float32]) -> Vector:
    """The likeliest classes of logits (classes,)."""
    shares = softmax(logits) if contract.probabilities else logits
    best = np.argsort(-shares, kind="stable")[:BEST].tolist()
    labels = tuple(contract.label(index) for index in best)
    return Vector(labels=labels, indices=tuple(best), probabilities=tuple(round(float(shares[i]), 6) for i in best))


def boxes_of(contract: Contract, logits: npt.NDArray[np.float32], boxes: npt.NDArray[np.float32], size: Size) -> Vector:
    """The objects in logits (positions, classes) and boxes (positions, 4) in pixels of the model's input."""
    found = objects_in(contract, logits, boxes)
    scaled = found.boxes * np.tile([size[1] / contract.sides[1], size[0] / contract.sides[0]], 2)
    return Vector(
        labels=tuple(contract.label(index) for index in found.classes.tolist()),
        indices=tuple(found.classes.tolist()),
        scores=tuple(round(score, 6) for score in found.confidences.tolist()),
        boxes=tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in scaled.round(3).tolist()),
    )


def objects_in(
    contract: Contract,
    logits: npt.NDArray[np.float32],
    boxes: npt.NDArray[np.float32],
    *,
    surer: float = 0.0,
    apart: float = 0.0,
) -> Detected:
    """The objects where confidence must be `surer` than the contract says, and doubles may overlap by `apart` more."""
    assert contract.boxes is not None
    least, most = contract.boxes.confidence + surer, contract.boxes.nms_iou + apart
    return detect(np.hstack([logits, boxes]), least=least, nms_iou=most)


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Shares (classes,) that add up to 1."""
    powers = np.exp(logits.astype(np.float64) - float(logits.max()))
    return np.asarray(powers / powers.sum())


def differences(expected: Vector, said: Vector, longer: int) -> tuple[float, float] | None:
    """How far an answer is from the expected one: the largest difference of a probability or score, and of a box's
    coordinate relative to the `longer` side of the raw image; None where it is another answer.

    Of classes the first alone counts. Boxes are paired from the most confident on, each with the one of its label that
    overlaps it most.
    """
    if expected.probabilities:
        if not said.probabilities or (expected.indices[0], expected.labels[0]) != (said.indices[0], said.labels[0]):
            return None
        return abs(expected.probabilities[0] - said.probabilities[0]), 0.0
    if len(expected.boxes) != len(said.boxes):
        return None
    return _between_boxes(expected, said, longer)


def _between_boxes(expected: Vector, said: Vector, longer: int) -> tuple[float, float] | None:
    ours, theirs = (np.asarray(one.boxes, np.float64).reshape(-1, 4) for one in (expected, said))
    overlaps = overlap(ours, theirs)
    free, of_scores, of_boxes = set(range(len(theirs))), 0.0, 0.0
    for at, kind in enumerate(zip(expected.indices, expected.labels, strict=True)):
        same = [one for one in sorted(free) if (said.indices[one], said.labels[one]) == kind]
        if not same:
            return None
        partner = max(same, key=lambda one: overlaps[at, one])
        if overlaps[at, partner] < SAME_BOX:
            return None
        free.remove(partner)
        of_scores = max(of_scores, abs(expected.scores[at] - said.scores[partner]))
        of_boxes = max(of_boxes, float(np.abs(ours[at] - theirs[partner]).max()) / longer)
    return of_scores, of_boxes
