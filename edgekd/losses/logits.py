"""What a student is asked to match: a teacher's logits, or labels. Pure functions, scalar means over the batch.

Every loss is computed in float32 whatever the precision of the forward pass, since a softmax over bfloat16 logits loses
the small probabilities that distillation is about.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F

from edgekd.errors import UsageError, did_you_mean

# Keeps a row of equal logits finite, and its gradient bounded; far below the spread of a row that says something.
SPREAD_FLOOR = 1e-3


class DistillationLoss(Protocol):
    """How a row of student logits is compared with the teacher's."""

    def __call__(self, student: torch.Tensor, teacher: torch.Tensor, *, temperature: float) -> torch.Tensor: ...


@dataclass(frozen=True)
class LossWeights:
    """What a loss is used with where nothing else is asked for: the weights of it and of the labels' cross-entropy."""

    distill: float
    label: float
    temperature: float


def own_weights(loss: str) -> LossWeights:
    """Return the weights that belong to a loss by name. Raises UsageError where there is no such loss."""
    if loss not in LOSSES:
        raise UsageError(f"there is no loss {loss!r}{did_you_mean(loss, LOSSES)}")
    return LOSS_WEIGHTS[loss]


def soft_targets(student: torch.Tensor, teacher: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """Return temperature² x KL(softmax(teacher / temperature) || softmax(student / temperature)), a scalar float32.

    Both inputs are logits (batch, classes). The factor keeps the gradient's size independent of the temperature:
    Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", section 2.
    """
    log_student = F.log_softmax(student.float() / temperature, dim=-1)
    log_teacher = F.log_softmax(teacher.float() / temperature, dim=-1)
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True) * temperature**2


def standardised_logits(student: torch.Tensor, teacher: torch.Tensor, *, temperature: float = 2.0) -> torch.Tensor:
    """Return `soft_targets` between rows of logits brought to mean 0 and standard deviation 1, a scalar float32.

    Both inputs are logits (batch, classes). The student need not copy the teacher's scale, only its relations: Sun et
    al. 2024, "Logit Standardization in Knowledge Distillation", with the population standard deviation of its equation
    and a base temperature of 2. A row without any spread stands for equal probabilities.
    """
    return soft_targets(_standardise(student), _standardise(teacher), temperature=temperature)


def hard_labels(student: torch.Tensor, labels: torch.Tensor, *, label_smoothing: float = 0.0) -> torch.Tensor:
    """Return the cross-entropy of logits (batch, classes) against class indices int64 (batch,), a scalar float32."""
    return F.cross_entropy(student.float(), labels, label_smoothing=label_smoothing)


def _standardise(logits: torch.Tensor) -> torch.Tensor:
    values = logits.float()
    centred = values - values.mean(dim=-1, keepdim=True)
    # The square root of a floored variance, not a floored root: the gradient of sqrt at 0 is infinite.
    variance = centred.square().mean(dim=-1, keepdim=True)
    return centred * torch.rsqrt(variance.clamp_min(SPREAD_FLOOR**2))


LOSSES: dict[str, DistillationLoss] = {
    "soft_targets": soft_targets,
    "standardised_logits": standardised_logits,
}

LOSS_WEIGHTS: dict[str, LossWeights] = {
    "soft_targets": LossWeights(distill=0.9, label=0.1, temperature=4.0),
    "standardised_logits": LossWeights(distill=9.0, label=0.1, temperature=2.0),
}
"""Standardised logits have a spread of 1, so their loss and its gradient are smaller and want the larger weight, as in
Sun et al. 2024; 0.9 and a temperature of 4 are what most work on soft targets takes."""
