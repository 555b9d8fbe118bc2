"""What any other model is asked to match: its teacher's outputs, numbers of whatever meaning. Pure functions.

A model gives one tensor (batch, ...) or several; where it gives several, a loss is the mean over them. Tensors of any
float type are compared in float32 or, where that came in, float64, and gradients never reach the teacher. Arguments
that a loss has no use for, it ignores. All raise BadInput where the number of outputs or their shapes differ.
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F

from edgekd.errors import UsageError
from edgekd.losses.tensors import Outputs, matched_outputs, matched_targets, needed, unit


def squared_error(
    student: Outputs, teacher: Outputs, *, labels: torch.Tensor | None = None, temperature: float = 1.0
) -> torch.Tensor:
    """Return the mean over all values of (student - teacher)², a scalar.

    Between logits: Ba and Caruana 2014, "Do Deep Nets Really Need to be Deep?", equation 1 without the half.
    """
    return _mean(student, teacher, lambda s, t: (s - t).square().mean())


def cosine_distance(
    student: Outputs, teacher: Outputs, *, labels: torch.Tensor | None = None, temperature: float = 1.0
) -> torch.Tensor:
    """Return the mean of 1 - cosine of the angle between feature vectors, a scalar.

    Vectors run along the last dimension, (batch, ..., features), or along the channels of maps (batch, channels,
    height, width). For embeddings, whose length says nothing: Sanh et al. 2019, "DistilBERT", section 2.
    """

    def distance(s: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        along = 1 if s.dim() > 3 else -1
        return (1 - (unit(s, along) * unit(t, along)).sum(dim=along)).mean()

    return _mean(student, teacher, distance)


def teacher_bounded(
    student: Outputs,
    teacher: Outputs,
    *,
    labels: torch.Tensor | None = None,
    temperature: float = 1.0,
    margin: float = 0.0,
) -> torch.Tensor:
    """Return the mean over samples of the student's squared error, counted only where the teacher's is not beaten.

    For output (batch, ...) and numeric labels of that shape, a sample's error is the mean over its values of (output -
    label)². It counts in full while error + margin > the teacher's error, so until the student is better by the margin,
    and not at all from there: Chen et al. 2017, "Learning Efficient Object Detection Models with Knowledge
    Distillation", section 3.3. The margin is in squared units of the labels. A teacher of numbers can be far off in any
    direction; so it is a bar to pass, never a value to copy.

    Raises UsageError without labels or with several outputs.
    """
    pairs = matched_outputs(student, teacher)
    if len(pairs) != 1:
        raise UsageError(f"the loss 'teacher_bounded' needs labels per output, but the model has {len(pairs)} outputs")
    truth = needed(labels, "teacher_bounded")
    own, bar = (_sample_errors(values, truth) for values in pairs[0])
    return torch.where(own + margin > bar, own, 0).mean()


def dense_heads(
    student: Outputs,
    teacher: Outputs,
    *,
    labels: torch.Tensor | None = None,
    temperature: float = 1.0,
    activation: Literal["sigmoid", "softmax"] = "sigmoid",
) -> torch.Tensor:
    """Return the divergence of class maps plus the L1 distance of box maps, a scalar, for detectors with dense heads.

    Outputs are class map and box map in turn, one pair a level: logits (batch, classes, height, width) and numbers
    (batch, coordinates, height, width). The teacher's confidence at a position is its largest class probability. Over
    all positions, temperature² x KL(teacher || student) of the classes, and the mean |student - teacher| of the
    coordinates times the confidence, are summed and divided by the total confidence (at least 1), which stands for the
    number of objects. So boxes are copied where the teacher sees something, and background counts against false alarms:
    Mehta and Ozturk 2018, "Object Detection at 200 Frames Per Second", whose objectness is here the confidence.

    With "sigmoid" each channel is a class of its own; with "softmax" they compete, and channel 0 is the background.
    Raises UsageError where the outputs do not come in pairs of one grid.
    """
    pairs = matched_outputs(student, teacher)
    levels = list(zip(pairs[::2], pairs[1::2], strict=False))
    if len(pairs) % 2 or any(classes[0].shape[2:] != boxes[0].shape[2:] for classes, boxes in levels):
        shapes = ", ".join(str(tuple(s.shape)) for s, _ in pairs)
        raise UsageError(
            "the loss 'dense_heads' needs class map (batch, classes, height, width) and box map (batch, coordinates, "
            f"height, width) in turn, but the model gives {shapes}; take squared_error"
        )
    losses = []
    for (class_s, class_t), (box_s, box_t) in levels:
        confidence = _confidence(class_t, activation)
        classes = class_divergence(class_s / temperature, class_t / temperature, activation) * temperature**2
        boxes = (box_s - box_t).abs().mean(dim=1) * confidence
        losses.append((classes + boxes).sum() / confidence.sum().clamp_min(1))
    return torch.stack(losses).mean()


def _mean(
    student: Outputs, teacher: Outputs, compare: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    return torch.stack([compare(s, t) for s, t in matched_outputs(student, teacher)]).mean()


def _sample_errors(values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean squared error of each sample: (batch, ...) to (batch,)."""
    values, truth = matched_targets(values, labels)
    return (values - truth).square().flatten(1).mean(dim=1) if values.dim() > 1 else (values - truth).square()


def _confidence(logits: torch.Tensor, activation: str) -> torch.Tensor:
    """The largest probability of a class that is no background: (batch, classes, ...) to (batch, ...)."""
    if activation == "sigmoid":
        return logits.sigmoid().amax(dim=1)
    return logits.softmax(dim=1)[:, 1:].amax(dim=1)


def class_divergence(student: torch.Tensor, teacher: torch.Tensor, activation: str) -> torch.Tensor:
    """KL(teacher || student) at every position, summed over classes: (batch, classes, ...) to (batch, ...)."""
    if activation == "softmax":
        p, q = F.log_softmax(student, dim=1), F.log_softmax(teacher, dim=1)
        return (q.exp() * (q - p)).sum(dim=1)
    yes = teacher.sigmoid() * (F.logsigmoid(teacher) - F.logsigmoid(student))
    no = (-teacher).sigmoid() * (F.logsigmoid(-teacher) - F.logsigmoid(-student))
    return (yes + no).sum(dim=1)
