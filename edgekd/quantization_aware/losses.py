"""How far what a student says is from what its teacher says."""

from collections.abc import Callable

import torch

from edgekd.losses.logits import soft_targets

Outputs = tuple[torch.Tensor, ...]
Loss = Callable[[Outputs, Outputs], torch.Tensor]
"""`loss(student, teacher)`: a scalar from as many outputs (batch, ...) on both sides."""

TEMPERATURE = 4.0


def classifier_loss(student: Outputs, teacher: Outputs) -> torch.Tensor:
    """Divergence of softened probabilities."""
    return soft_targets(student, teacher, temperature=TEMPERATURE)


def relative_error(powers: tuple[float, ...]) -> Loss:
    """Return the loss that is noise over signal, the mean over outputs of (student - teacher)² / power of that output.

    In powers of ten it is the signal to noise ratio that quantized files are judged by, and outputs of any unit count
    alike.
    """

    def loss(student: Outputs, teacher: Outputs) -> torch.Tensor:
        pairs = zip(student, teacher, powers, strict=True)
        return torch.stack([(s.float() - t.float()).square().mean() / power for s, t, power in pairs]).mean()

    return loss
