"""Mixup (Zhang et al. 2018): inputs, and what is learned from them, blended with those of a second sample.

Function matching (Beyer et al. 2022, "A good teacher is patient and consistent") shows teacher and student the same
blend. Its published code (big_vision) mixes with Beta(1, 1), folded to shares of a half and more, which is followed
here; that it draws one share per batch is not: here every sample has a partner and a share of its own for the epoch. So
a blend is the same whatever the order and the batch, and a teacher's word on it can be kept.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from edgekd.errors import UsageError


@dataclass(frozen=True)
class Pairs:
    """For every sample of a split: the index of its partner, int64 (n,), and its own share lambda, float32 (n,)."""

    partners: npt.NDArray[np.int64]
    lam: npt.NDArray[np.float32]


def draw_pairs(count: int, *, alpha: float, seed: int, epoch: int, labelled: int | None = None) -> Pairs:
    """Return the pairs of one epoch: each sample is another's partner once; lambda is Beta(alpha, alpha) or its rest.

    Of lambda and 1 - lambda the larger is taken, so the first of a pair is what most of the mixture is. Where only the
    first `labelled` samples have labels these are blended among themselves, so that no label is lost.
    """
    generator = np.random.default_rng([seed, epoch, 1])
    partners = np.empty(count, np.int64)
    for start, end in ((0, count),) if labelled is None else ((0, labelled), (labelled, count)):
        order = start + generator.permutation(end - start)
        partners[order] = np.roll(order, 1)
    lam = generator.beta(alpha, alpha, size=count).astype(np.float32)
    return Pairs(partners, np.maximum(lam, 1 - lam))


def check_mixup(inputs: npt.NDArray[Any], alpha: float) -> None:
    """Refuse to blend what is no image and no float: between two token ids there is nothing. Raises UsageError."""
    if not math.isfinite(alpha) or alpha < 0:
        raise UsageError(
            f"--mixup {alpha:g} is no parameter of a Beta distribution; give 0 for none, or a number above 0"
        )
    if alpha and inputs.dtype.kind != "f" and not is_image(inputs):
        raise UsageError(
            f"--mixup {alpha:g} blends two inputs into one, which {inputs.dtype} inputs (such as token ids) do not "
            "allow; leave it out"
        )


def is_image(inputs: npt.NDArray[Any]) -> bool:
    """Return whether inputs are images, uint8 (n, height, width, channels)."""
    return inputs.dtype == np.uint8 and inputs.ndim == 4


def mix(first: torch.Tensor, second: torch.Tensor, lam: torch.Tensor) -> torch.Tensor:
    """Return lam x first + (1 - lam) x second, float32 (batch, ...); `lam` is (batch,)."""
    share = lam.reshape(-1, *[1] * (first.dim() - 1))
    return share * first.float() + (1 - share) * second.float()


def mixed_targets(labels: torch.Tensor, partners: torch.Tensor, lam: torch.Tensor, *, classes: int) -> torch.Tensor:
    """Return what a blended input is to be answered with.

    Class indices int64 (batch,) become probabilities float32 (batch, classes), whose cross-entropy is lam times that of
    the one label and 1 - lam times that of the other; targets float (batch, ...) are blended as the inputs are.
    """
    if labels.is_floating_point():
        return mix(labels, partners, lam)
    return mix(F.one_hot(labels, classes), F.one_hot(partners, classes), lam)
