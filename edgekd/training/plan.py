"""The plan of one training run, and the numbers that follow from it alone.

Everything a run depends on besides weights and data is in `Plan`, so the same plan with the same seed gives the same
bytes; the schedule and the averaging are pure functions of it and of the step.
"""

import math
from typing import Literal

from pydantic import Field

from edgekd.losses.logits import own_weights
from edgekd.record import Record

Precision = Literal["32-true", "bf16-mixed"]
Augment = Literal["none", "crop", "crop+flip"]
Optimizer = Literal["sgd", "adamw"]

LEARNING_RATES: dict[tuple[Optimizer, bool], float] = {
    ("sgd", True): 0.03,
    ("sgd", False): 0.1,
    ("adamw", True): 3e-4,
    ("adamw", False): 1e-3,
}
"""Peak learning rate at batch 128 by optimizer and by whether the student starts from the teacher's weights."""

REFERENCE_BATCH = 128
LONGEST_MEMORY = 0.9999


class Plan(Record):
    """One training run. `warmup_share` and `average_share` are shares of `steps`; weights multiply the two losses.

    A precision of None is settled by `edgekd.training.precision.settle_precision`, by rule, when the run starts.
    Weights and temperature that are not given are the loss's own, so a stored plan names them. Raises UsageError where
    there is no such loss.
    """

    steps: int = Field(ge=1)
    batch_size: int = Field(128, ge=1)
    optimizer: Optimizer = "sgd"
    learning_rate: float = Field(0.03, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    warmup_share: float = Field(0.05, ge=0, le=1)
    clip_norm: float = Field(5.0, gt=0)
    loss: str = "standardised_logits"
    temperature: float = Field(default_factory=lambda given: own_weights(given["loss"]).temperature, gt=0)
    distill_weight: float = Field(default_factory=lambda given: own_weights(given["loss"]).distill, ge=0)
    label_weight: float = Field(default_factory=lambda given: own_weights(given["loss"]).label, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    average_share: float = Field(0.05, gt=0, le=1)
    recalibration_batches: int = Field(20, ge=0)
    augment: Augment = "crop"
    evaluate_every: int = Field(500, ge=1)
    precision: Precision | None = None
    teacher_precision: Precision | None = None
    seed: int = Field(0, ge=0)


def learning_rate_for(optimizer: Optimizer, *, carries_weights: bool, batch_size: int) -> float:
    """Return a peak learning rate: linear in the batch for SGD (Goyal et al. 2017), by the square root for AdamW."""
    ratio = batch_size / REFERENCE_BATCH
    return LEARNING_RATES[optimizer, carries_weights] * (ratio if optimizer == "sgd" else math.sqrt(ratio))


def learning_rate_at(step: int, plan: Plan) -> float:
    """Return the learning rate of `step` (0-based): a linear warm-up to the peak, then half a cosine towards zero.

    The warm-up's first step already moves, and the last step of the run is the only one near zero.
    """
    warmup = round(plan.warmup_share * plan.steps)
    if step < warmup:
        return plan.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, plan.steps - warmup)
    return plan.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def average_decay(plan: Plan) -> float:
    """Return the decay d of the running average of weights: it remembers 1 / (1 - d) = `average_share` x steps."""
    memory = max(1.0, plan.average_share * plan.steps)
    return min(LONGEST_MEMORY, 1 - 1 / memory)
