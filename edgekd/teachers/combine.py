"""Several teachers as one module, and the teacher among them whose class order differs.

A combination weighs the teachers' probabilities and gives their logarithm back as logits. Softmax does not see what is
added to a whole row, so a single teacher combined with itself, or alone, teaches just what it would have taught.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from edgekd.errors import BadInput, UsageError, did_you_mean, one_line
from edgekd.formats.outputs import outputs_of

# A teacher that is entirely sure has entropy 0; this floor, in nats, keeps its weight finite and far above the others'.
ENTROPY_FLOOR = 1e-3

Combination = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def mean_logits(logits: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return log(sum over teachers of weight x softmax(logits)), float32 (batch, classes).

    `logits` is (teachers, batch, classes), `weights` (teachers,), above 0 and adding up to 1: the arithmetic mean of
    Hinton, Vinyals and Dean 2015, section 2, for an ensemble as the teacher.
    """
    return torch.logsumexp(logits.float().log_softmax(dim=-1) + weights.log()[:, None, None], dim=0)


def confident_logits(logits: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the mean as in `mean_logits`, each sample leaning on the teachers that are sure of it.

    `logits` is (teachers, batch, classes), `weights` (teachers,). A teacher's share in a sample is its weight over the
    entropy of its probabilities there: after Kwon et al. 2020, "Adaptive Knowledge Distillation Based on Entropy",
    where teachers of lower entropy count for more. It needs no labels, so it also serves unlabelled data; a teacher
    that is sure and wrong is what it cannot see.
    """
    log_probabilities = logits.float().log_softmax(dim=-1)
    entropy = -(log_probabilities.exp() * log_probabilities).sum(dim=-1)
    share = weights[:, None] / entropy.clamp_min(ENTROPY_FLOOR)
    share = share / share.sum(dim=0)
    return torch.logsumexp(log_probabilities + share.log()[..., None], dim=0)


def mean_values(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean over teachers of values (teachers, batch, ...), as for regression, (batch, ...)."""
    return torch.einsum("t...,t->...", values.float(), weights)


class Ensemble(nn.Module):
    """Teachers that answer as one: in eval mode whatever is asked, their parameters frozen.

    Gradients still pass to the inputs, which data-free distillation needs. `combine` makes a checked one.
    """

    weights: torch.Tensor

    def __init__(self, teachers: Sequence[nn.Module], how: Combination, weights: Sequence[float]) -> None:
        super().__init__()
        self.teachers = nn.ModuleList(teachers).requires_grad_(False)
        self.how = how
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32) / sum(weights))
        self.eval()

    def train(self, mode: bool = True) -> "Ensemble":
        """Stay in eval mode: a teacher whose batch norm or dropout is at work teaches noise."""
        return super().train(False)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Return what the teachers return, combined tensor by tensor, float32: one tensor, or a tuple of several."""
        answers = [outputs_of(teacher(*inputs), len(inputs[0])) for teacher in self.teachers]
        combined = tuple(self.how(torch.stack(each), self.weights) for each in zip(*answers, strict=True))
        return combined[0] if len(combined) == 1 else combined


def combine(
    teachers: Mapping[str, nn.Module],
    example: torch.Tensor,
    *,
    how: str = "mean",
    scores: Sequence[float] | None = None,
    regression: bool = False,
) -> Ensemble:
    """Return the teachers as one module that gives logits (batch, classes), or values (batch, ...) for regression.

    Args:
        teachers: by the name that a message calls each by, such as its file; they see the same inputs, in one
            preprocessing. They are frozen where they are, not copied.
        example: one input (batch, ...) on which all of them are tried.
        how: "mean"; "weighted", in proportion to `scores`; "confident", per sample.
        scores: of each teacher on validation, above 0, for "weighted".

    Raises:
        UsageError: no teacher, an unknown `how` or one that regression lacks, or scores that do not fit.
        BadInput: a teacher does not take the example, or answers in another shape than the first.
    """
    known = VALUES if regression else LOGITS
    if how not in known:
        raise UsageError(f"teachers cannot be combined by {how!r}{did_you_mean(how, known)}")
    if not teachers:
        raise UsageError("there is no teacher to combine; name at least one")
    ensemble = Ensemble(list(teachers.values()), known[how], _weights(how, scores, len(teachers)))
    _check_outputs(teachers, example, regression=regression)
    return ensemble


def _weights(how: str, scores: Sequence[float] | None, count: int) -> Sequence[float]:
    if how != "weighted":
        return [1.0] * count
    if scores is None or len(scores) != count:
        raise UsageError(f"weighting {count} teachers needs {count} validation scores, not {len(scores or [])}")
    # Not `min(...) <= 0`, which lets NaN pass.
    if not all(0 < score < float("inf") for score in scores):
        raise UsageError("every validation score that weighs a teacher must be above 0; leave out the teacher without")
    return scores


@torch.no_grad()
def _check_outputs(teachers: Mapping[str, nn.Module], example: torch.Tensor, *, regression: bool) -> None:
    first: tuple[str, list[tuple[int, ...]]] | None = None
    for name, teacher in teachers.items():
        try:
            outputs = outputs_of(teacher(example), len(example))
        except (BadInput, RuntimeError, ValueError, TypeError) as error:
            shape = tuple(example.shape)
            raise BadInput(f"teacher {one_line(name)} fails on an input {shape}: {one_line(str(error))}") from error
        shapes = [tuple(output.shape[1:]) for output in outputs]
        if not regression and [len(shape) for shape in shapes] != [1]:
            raise BadInput(f"teacher {one_line(name)} does not return one tensor of logits (batch, classes)")
        first = first or (one_line(name), shapes)
        if shapes != first[1]:
            raise BadInput(
                f"teacher {one_line(name)} returns {_shown(shapes)} per sample where {first[0]} returns "
                f"{_shown(first[1])}; teachers of one student must have the same outputs"
            )


def _shown(shapes: Sequence[tuple[int, ...]]) -> str:
    return " and ".join("x".join(map(str, shape)) or "one value" for shape in shapes)


LOGITS: dict[str, Combination] = {"mean": mean_logits, "weighted": mean_logits, "confident": confident_logits}
VALUES: dict[str, Combination] = {"mean": mean_values, "weighted": mean_values}
