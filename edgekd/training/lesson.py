"""What a student is trained on at a step: its own outputs and features held against its teacher's, and against labels.

A `Lesson` is the module that Fabric wraps. It holds the student beside everything else that learns with it (projectors
of feature losses, peers), so that these are in the optimizer and in the checkpoint, and are left behind when the
student ships.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from edgekd.errors import UsageError
from edgekd.formats.outputs import outputs_of
from edgekd.losses.mutual import mutual
from edgekd.losses.table import FEATURE_LOSSES, LABEL_LOSSES, LABELS, OUTPUT_LOSSES, WeightedLoss, needs_labels
from edgekd.training.evaluate import joined
from edgekd.training.mixing import mixed_targets
from edgekd.training.taps import Taps

Tensors = tuple[torch.Tensor, ...]


class Taught(NamedTuple):
    """What the teacher said of a batch: its outputs, and the features that some loss wants matched. A tuple, since
    Fabric looks into what a module is called with, and refuses frozen dataclasses there."""

    outputs: Tensors
    features: Tensors = ()


class Labels(NamedTuple):
    """Labels (labelled, ...) and, where inputs were mixed, their partners' and the share (labelled,) of the first.

    rows: int64 (labelled,), which of the batch they are of; None for all of it.
    weight: of a mean over them: their number by the one that is to be expected of a batch, which gives every label the
        same say, however many others chance has put beside it.
    """

    own: torch.Tensor
    partner: torch.Tensor | None = None
    share: torch.Tensor | None = None
    rows: torch.Tensor | None = None
    weight: float = 1.0

    def among(self, rows: torch.Tensor, *, weight: float) -> "Labels":
        """Those at int64 `rows` of a batch that all have a label, or what stands for one."""
        partner, share = (None if each is None else each[rows] for each in (self.partner, self.share))
        return Labels(self.own[rows], partner, share, rows, weight)

    def to(self, device: torch.device) -> "Labels":
        """The same on `device`."""
        partner, share, rows = (None if each is None else each.to(device) for each in self[1:4])
        return Labels(self.own.to(device), partner, share, rows, self.weight)

    def of(self, outputs: Tensors) -> Tensors:
        """Those rows of outputs (batch, ...) that have labels."""
        return outputs if self.rows is None else tuple(output[self.rows] for output in outputs)


class Lesson(nn.Module):
    """The student with its weighted losses.

    Args:
        layers: names of the student's layers whose features are matched.
        heads: by loss, the module that compares features; its parameters are trained with the student's.
        peers: other students, which learn the labels and one another's outputs.
        label_loss: name in `LABEL_LOSSES` of what `labels` means for this task.
        every_output: whether teacher and labels are of all outputs, or of the first alone.
    """

    def __init__(
        self,
        student: nn.Module,
        losses: Sequence[WeightedLoss],
        *,
        label_loss: str,
        every_output: bool = False,
        temperature: float | None = None,
        label_smoothing: float = 0.0,
        layers: Sequence[str] = (),
        heads: dict[str, nn.Module] | None = None,
        peers: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        self.student = student
        self.heads = nn.ModuleDict(heads or {})
        self.peers = nn.ModuleList(peers)
        self._losses, self._label_loss = tuple(losses), LABEL_LOSSES[label_loss]
        self._temperature, self._smoothing = temperature, label_smoothing
        self._every_output = every_output
        self._taps = Taps(student, layers, whose="the student")

    def forward(self, inputs: torch.Tensor, taught: Taught | None, labels: Labels | None) -> torch.Tensor:
        """Return the loss of a batch of model inputs, a scalar float32; losses are computed without autocast."""
        with self._taps:
            outputs = outputs_of(self.student(inputs), len(inputs))
            features = self._taps.read()
        others = [outputs_of(peer(inputs), len(inputs))[0] for peer in self.peers]
        with torch.autocast(inputs.device.type, enabled=False):
            total = torch.zeros((), device=inputs.device)
            for loss in self._losses:
                total = total + loss.weight * self._value(loss.name, outputs, features, taught, labels)
            if others:
                total = total + mutual([outputs[0], *others])
                total = total + sum(self._of_labels(other, labels) for other in others)
        return total

    def _value(
        self, name: str, outputs: Tensors, features: Tensors, taught: Taught | None, labels: Labels | None
    ) -> torch.Tensor:
        if name == LABELS:
            return self._of_labels(joined(outputs) if self._every_output else outputs[0], labels)
        assert taught is not None
        if name in FEATURE_LOSSES:
            said = [feature.float() for feature in features], [feature.float() for feature in taught.features]
            return torch.as_tensor(self.heads[name](*said))
        loss = OUTPUT_LOSSES[name]
        temperature = self._temperature or loss.temperature
        both, weight = (outputs, taught.outputs), 1.0
        if loss.needs_labels:
            if labels is None:
                return _nothing(outputs[0])
            both, weight = (labels.of(outputs), labels.of(taught.outputs)), labels.weight
        ours, theirs = both if self._every_output else (both[0][0], both[1][0])
        truth = None if labels is None else labels.own
        return weight * loss.function(ours, theirs, labels=truth, temperature=temperature)

    def _of_labels(self, outputs: torch.Tensor, labels: Labels | None) -> torch.Tensor:
        if labels is None:
            return _nothing(outputs)
        (outputs,), truth = labels.of((outputs,)), labels.own
        if labels.partner is not None and labels.share is not None:
            truth = mixed_targets(truth, labels.partner, labels.share, classes=outputs.shape[1])
        return labels.weight * self._label_loss(outputs, truth, label_smoothing=self._smoothing)


def _nothing(outputs: torch.Tensor) -> torch.Tensor:
    """The labels' loss of a batch that has none: 0, with a gradient of zeros."""
    return 0.0 * outputs.float().sum()


def build_heads(
    losses: Sequence[WeightedLoss], student: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor]
) -> dict[str, nn.Module]:
    """Return what compares features, by loss, for features (batch, ...) of pairs of layers.

    Raises BadInput where a loss cannot be applied to layers of these shapes.
    """
    shapes = [tuple(tuple(feature.shape[1:]) for feature in side) for side in (student, teacher)]
    return {
        loss.name: FEATURE_LOSSES[loss.name].build(shapes[0], shapes[1])
        for loss in losses
        if loss.name in FEATURE_LOSSES
    }


def check_losses(losses: Sequence[WeightedLoss], *, taught: bool, labelled: bool, paired: bool, mixed: bool) -> None:
    """Refuse, in one sentence, losses that lack what they are computed from. Raises UsageError."""
    names = [loss.name for loss in losses if loss.weight]
    if not names:
        raise UsageError("every loss has weight 0, which leaves nothing to learn from; raise one of them with --loss")
    for name in names:
        if name == LABELS and not labelled:
            raise UsageError("the data have no labels to learn from; leave --loss labels out")
        if name != LABELS and not taught:
            raise UsageError(f"--loss {name} needs a teacher")
        if name in FEATURE_LOSSES and not paired:
            raise UsageError(f"--loss {name} matches layers, and no pair of layers was found; name some with --pair")
        if needs_labels(name):
            if not labelled:
                raise UsageError(f"--loss {name} needs labels, which the data do not have; use standardised_logits")
            if mixed:
                raise UsageError(f"--loss {name} needs the label of every input, which mixed inputs lack; drop --mixup")
