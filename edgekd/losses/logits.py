"""What a classifier is asked to match: its teacher's logits. Pure functions, scalar means over the batch.

Every loss takes logits (..., classes), in practice (batch, classes), of any float type, and computes in float32 or,
where that came in, float64, since a softmax over bfloat16 logits loses the small probabilities that distillation is
about. Gradients never reach the teacher. `labels` are class indices int64 (batch,); losses that need none ignore them.
All raise BadInput where the shapes differ and UsageError where the outputs are no logits.
"""

import torch
import torch.nn.functional as F

from edgekd.losses.tensors import Outputs, matched_rows, needed

# Keeps a row of equal logits finite, and its gradient bounded; far below the spread of a row that says something.
SPREAD_FLOOR = 1e-3
# Probabilities that differ by no more than this, as a vector's length, differ by rounding alone.
CORRELATION_FLOOR = 1e-4


def soft_targets(
    student: Outputs, teacher: Outputs, *, labels: torch.Tensor | None = None, temperature: float = 4.0
) -> torch.Tensor:
    """Return temperature² x KL(softmax(teacher / temperature) || softmax(student / temperature)), a scalar.

    The factor keeps the gradient's size independent of the temperature: Hinton, Vinyals and Dean 2015, "Distilling the
    Knowledge in a Neural Network", section 2.
    """
    s, t = matched_rows(student, teacher, "soft_targets")
    return divergence(s / temperature, t / temperature) * temperature**2


def standardised_logits(
    student: Outputs, teacher: Outputs, *, labels: torch.Tensor | None = None, temperature: float = 2.0
) -> torch.Tensor:
    """Return `soft_targets` between rows of logits brought to mean 0 and standard deviation 1, a scalar.

    The student need not copy the teacher's scale, only its relations: Sun et al. 2024, "Logit Standardization in
    Knowledge Distillation", with the population standard deviation of its equation and a base temperature of 2. A row
    without any spread stands for equal probabilities.
    """
    s, t = matched_rows(student, teacher, "standardised_logits")
    return divergence(_standardise(s) / temperature, _standardise(t) / temperature) * temperature**2


def decoupled(
    student: Outputs,
    teacher: Outputs,
    *,
    labels: torch.Tensor | None = None,
    temperature: float = 4.0,
    alpha: float = 1.0,
    beta: float = 8.0,
) -> torch.Tensor:
    """Return temperature² x (alpha x KL of target against rest + beta x KL among the other classes), a scalar.

    Zhao et al. 2022, "Decoupled Knowledge Distillation", equation 7, with its CIFAR values of alpha and beta. The plain
    loss weighs the second part by how unsure the teacher is of the label, and so silences it just where a good teacher
    has most to tell. Raises UsageError without labels.
    """
    s, t = matched_rows(student, teacher, "decoupled")
    target = needed(labels, "decoupled").reshape(-1, 1)
    binary = divergence(_target_and_rest(s / temperature, target), _target_and_rest(t / temperature, target))
    others = divergence(_without(s, target) / temperature, _without(t, target) / temperature)
    return (alpha * binary + beta * others) * temperature**2


def correlation(
    student: Outputs, teacher: Outputs, *, labels: torch.Tensor | None = None, temperature: float = 4.0
) -> torch.Tensor:
    """Return temperature² x ((1 - correlation over classes) + (1 - correlation over samples)), a scalar.

    Pearson's correlation of the two models' probabilities, the mean over samples and the mean over classes: Huang et
    al. 2022, "Knowledge Distillation from A Stronger Teacher", with the factor of the authors' code. A student may be
    less sure than its teacher, as long as the probabilities rise and fall together.
    """
    s, t = matched_rows(student, teacher, "correlation")
    p, q = F.softmax(s / temperature, dim=-1), F.softmax(t / temperature, dim=-1)
    return (2 - _pearson(p, q).mean() - _pearson(p.T, q.T).mean()) * temperature**2


def normalised(
    student: Outputs,
    teacher: Outputs,
    *,
    labels: torch.Tensor | None = None,
    temperature: float = 1.0,
    gamma: float = 1.5,
) -> torch.Tensor:
    """Return cross-entropy on the target plus gamma x temperature² x cross-entropy among the other classes, a scalar.

    The first part is the label's own cross-entropy times the teacher's probability of it, at temperature 1; the second
    compares the other classes, normalised to a sum of 1: Yang et al. 2023, "From Knowledge Distillation to
    Self-Knowledge Distillation", its NKD, with gamma and temperature of the authors' code. Smallest, but not zero,
    where both agree on all but the target. Raises UsageError without labels.
    """
    s, t = matched_rows(student, teacher, "normalised")
    target = needed(labels, "normalised").reshape(-1, 1)
    sure = F.softmax(t, dim=-1).gather(1, target)
    on_target = -(sure * F.log_softmax(s, dim=-1).gather(1, target)).mean()
    others = F.softmax(_without(t, target) / temperature, dim=-1)
    log_others = F.log_softmax(_without(s, target) / temperature, dim=-1)
    return on_target - gamma * temperature**2 * (others * log_others).sum(dim=-1).mean()


def divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """KL(softmax(teacher) || softmax(student)) of rows (n, classes), the mean over rows."""
    log_student, log_teacher = F.log_softmax(student, dim=-1), F.log_softmax(teacher, dim=-1)
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


def _standardise(values: torch.Tensor) -> torch.Tensor:
    centred = values - values.mean(dim=-1, keepdim=True)
    # The square root of a floored variance, not a floored root: the gradient of sqrt at 0 is infinite.
    variance = centred.square().mean(dim=-1, keepdim=True)
    return centred * torch.rsqrt(variance.clamp_min(SPREAD_FLOOR**2))


def _without(values: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Rows (n, classes) without the column that `target` (n, 1) names: (n, classes - 1)."""
    columns = torch.arange(values.shape[1] - 1, device=values.device)
    return values.gather(1, columns + (columns >= target).long())


def _target_and_rest(values: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Logits (n, 2) of a class against all others together, exact also where its probability rounds to 1."""
    return torch.cat([values.gather(1, target), _without(values, target).logsumexp(dim=1, keepdim=True)], dim=1)


def _pearson(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Pearson's correlation of each row of a with the same row of b: (n, m) to (n,)."""
    a, b = (values - values.mean(dim=-1, keepdim=True) for values in (a, b))
    return F.cosine_similarity(a, b, dim=-1, eps=CORRELATION_FLOOR)
