"""What boxes ask of a detector, and what a teacher's boxes ask of its student. Pure functions, scalars.

A detector gives class logits (batch, positions, classes), each a sigmoid's, and boxes (batch, positions, 4) as x1, y1,
x2, y2 in pixels. Truth is (batch, objects, classes + 4): a 1 at the object's class among zeros, then its box; rows
without a class are padding. All is computed in float32 or, where that came in, float64.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from edgekd.errors import BadInput, UsageError
from edgekd.losses.outputs import class_divergence
from edgekd.losses.tensors import Outputs, matched_outputs, widen

BEST_POSITIONS = 13
OVERLAP_POWER = 6.0
"""TOOD's m and beta (section 4.1); its alpha is 1."""
NEAREST_POSITIONS = 3
"""By an object's centre, which learn it whatever they say now: from boxes that are nowhere, alignment tells nothing."""
NEGATIVE_SHARE, NEGATIVE_POWER = 0.75, 2.0
"""Alpha and gamma of the varifocal loss (section 4.2)."""
BOX_WEIGHT = 2.0
"""TOOD's, of the boxes' loss beside that of the classes."""
IMAGES_AT_ONCE = 32


class Assigned(NamedTuple):
    """What positions are to learn: the truth row that each belongs to, int64 (batch, positions), -1 for background; the
    confidence in its class, and how much its box counts, both (batch, positions), 0..1. Weights of an object's
    positions add up to 1."""

    rows: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor


def detection(student: torch.Tensor, labels: torch.Tensor, *, label_smoothing: float = 0.0) -> torch.Tensor:
    """Return the loss of a detector's outputs side by side, (batch, positions, classes + 4), against boxes, a scalar.

    Positions are assigned to objects by `assign`. The classes' loss is varifocal (Zhang et al. 2021, "VarifocalNet",
    equation 2): cross-entropy with the target, weighted by it, and where nothing is, by alpha x probability^gamma.
    It is summed, and divided by the sum of targets (at least 1). That of the boxes is 1 - GIoU (Rezatofighi et al.
    2019), twice its mean over objects, each the mean over its positions by alignment. Feng et al. 2021 ("TOOD",
    equation 12) weigh positions by their targets instead, which leaves out objects that nothing overlaps yet.

    Raises UsageError where smoothing is asked for, and BadInput where outputs and labels have other classes.
    """
    if label_smoothing:
        raise UsageError(f"label smoothing of {label_smoothing:g} is for class labels; these labels are boxes")
    if student.dim() != 3 or labels.dim() != 3 or student.shape[2] != labels.shape[2]:
        raise BadInput(
            f"the student gives {tuple(student.shape)} where the labels are {tuple(labels.shape)}; the last sizes must "
            "agree, for both are classes and a box"
        )
    values = widen(student)
    logits, boxes, truth = values[..., :-4], values[..., -4:], labels.to(values.dtype)
    rows, targets, weights = _assigned(logits.detach(), boxes.detach(), truth)
    batch, position = (rows >= 0).nonzero(as_tuple=True)
    own, target = truth[batch, rows[batch, position]], targets[batch, position]
    wanted = torch.zeros_like(logits)
    wanted[batch, position] = own[:, :-4] * target[:, None]
    weight = torch.where(wanted > 0, wanted, NEGATIVE_SHARE * logits.detach().sigmoid() ** NEGATIVE_POWER)
    classes = F.binary_cross_entropy_with_logits(logits, wanted, weight, reduction="sum")
    distances = (1 - generalised_overlap(boxes[batch, position], own[:, -4:])) * weights[batch, position]
    return classes / targets.sum().clamp_min(1) + BOX_WEIGHT * distances.sum() / weights.sum().clamp_min(1)


def assign(logits: torch.Tensor, boxes: torch.Tensor, truth: torch.Tensor) -> Assigned:
    """Say which positions are to find which object, and how sure they are to be: task-aligned, as Feng et al. 2021.

    A position's alignment with an object is its probability of the object's class x overlap^6 (section 3.2), where the
    centre of its box lies in the object. The 13 best aligned positions learn the object, and so do the 3 whose centres
    are nearest to its own; one that several objects want learns the one that it overlaps most. Of an object's
    positions the target is the alignment, scaled so that the largest is their largest overlap (section 3.3).
    """
    chance = torch.einsum("bpc,bmc->bmp", logits.sigmoid(), truth[..., :-4])
    shared = pairwise_overlap(truth[..., -4:], boxes)
    centre, middle = _centres(boxes), _centres(truth[..., -4:])
    low, high = truth[..., None, -4:-2], truth[..., None, -2:]
    inside = ((centre[:, None] > low) & (centre[:, None] < high)).all(dim=3)
    alignment = chance * shared**OVERLAP_POWER
    real = truth[..., :-4].any(dim=2)[..., None]
    wanted = _largest(alignment * inside, BEST_POSITIONS) & (alignment > 0) & inside
    nearest = _largest(-torch.cdist(middle, centre), NEAREST_POSITIONS)
    mine = (wanted | nearest) & real
    claims = torch.where(mine, shared, -1.0)
    best, rows = claims.max(dim=1)
    rows = rows.where(best >= 0, -1)
    mine = mine & (rows[:, None] == torch.arange(truth.shape[1], device=truth.device)[None, :, None])
    aligned, own = alignment * mine, shared * mine
    most = aligned.amax(dim=2, keepdim=True)
    share = torch.where(most > 0, aligned / most, mine)
    weights = share / share.sum(dim=2, keepdim=True).clamp_min(1)
    return Assigned(rows, (share * own.amax(dim=2, keepdim=True)).amax(dim=1), weights.amax(dim=1))


def dense_boxes(
    student: Outputs, teacher: Outputs, *, labels: torch.Tensor | None = None, temperature: float = 1.0
) -> torch.Tensor:
    """Return the divergence of classes plus the distance of boxes between two detectors, by position, a scalar.

    The teacher's confidence at a position is its largest class probability. Over all positions, temperature² x
    KL(teacher || student) of the classes, and 1 - GIoU of the boxes times the confidence, are summed and divided by the
    total confidence (at least 1), which stands for the number of objects: `dense_heads`, after Mehta and Ozturk 2018,
    for decoded boxes.

    Raises UsageError where the outputs are not logits and boxes of the same positions.
    """
    pairs = matched_outputs(student, teacher)
    shapes = [tuple(ours.shape) for ours, _ in pairs]
    if len(pairs) != 2 or any(len(s) != 3 for s in shapes) or shapes[0][1] != shapes[1][1] or shapes[1][2] != 4:
        raise UsageError(
            "the loss 'dense_boxes' needs class logits (batch, positions, classes) and boxes (batch, positions, 4), "
            f"but the model gives {', '.join(map(str, shapes))}; take squared_error"
        )
    (class_s, class_t), (box_s, box_t) = pairs
    confidence = class_t.sigmoid().amax(dim=2)
    classes = class_divergence(class_s.mT / temperature, class_t.mT / temperature, "sigmoid")
    boxes = (1 - generalised_overlap(box_s, box_t)) * confidence
    return (classes * temperature**2 + boxes).sum() / confidence.sum().clamp_min(1)


def generalised_overlap(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Return GIoU of boxes (..., 4), pair by pair: (...), -1..1.

    The overlap minus the share of the smallest box around both that neither covers: Rezatofighi et al. 2019,
    "Generalized Intersection over Union", algorithm 1.
    """
    shared, union = _shared_and_union(ours, theirs)
    low, high = torch.minimum(ours[..., :2], theirs[..., :2]), torch.maximum(ours[..., 2:], theirs[..., 2:])
    around = (high - low).clamp_min(0).prod(dim=-1)
    least = torch.finfo(union.dtype).eps
    return shared / union.clamp_min(least) - (around - union) / around.clamp_min(least)


def pairwise_overlap(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Return the intersection over union of boxes (batch, n, 4) with boxes (batch, m, 4): (batch, n, m)."""
    shared, union = _shared_and_union(ours[:, :, None], theirs[:, None])
    return shared / union.clamp_min(torch.finfo(union.dtype).eps)


def _assigned(logits: torch.Tensor, boxes: torch.Tensor, truth: torch.Tensor) -> Assigned:
    """`assign`, some images at a time: every object is held against every position."""
    starts = range(0, len(truth), IMAGES_AT_ONCE)
    parts = [assign(*(each[at : at + IMAGES_AT_ONCE] for each in (logits, boxes, truth))) for at in starts]
    return Assigned(*(torch.cat(each) for each in zip(*parts, strict=True)))


def _shared_and_union(ours: torch.Tensor, theirs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    low, high = torch.maximum(ours[..., :2], theirs[..., :2]), torch.minimum(ours[..., 2:], theirs[..., 2:])
    shared = (high - low).clamp_min(0).prod(dim=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(dim=-1) for boxes in (ours, theirs)]
    return shared, areas[0] + areas[1] - shared


def _centres(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def _largest(values: torch.Tensor, count: int) -> torch.Tensor:
    """Which are among the `count` largest along the last dimension: bool of the same shape."""
    best = values.topk(min(count, values.shape[-1]), dim=-1).indices
    return torch.zeros_like(values, dtype=torch.bool).scatter_(-1, best, True)
