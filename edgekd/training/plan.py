"""The plan of one training run, and the numbers that follow from it alone.

Everything a run depends on besides weights and data is in `Plan`, so the same plan with the same seed gives the same
bytes; the schedule and the averaging are pure functions of it and of the step.
"""

import math
from typing import Literal

from pydantic import Field

from edgekd.losses.table import FEATURE_LOSSES, WeightedLoss, parse_losses
from edgekd.record import Record
from edgekd.training.augmentation import Augment

Precision = Literal["32-true", "bf16-mixed"]
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
    """One training run. `warmup_share` and `average_share` are shares of `steps`.

    `losses` are summed by weight; the name "labels" stands for the labels' own loss. `pairs` are layers of student and
    teacher whose features are matched. `seed` decides the order of samples and what is random in the student;
    `view_seed` decides how a sample is cropped, flipped or mixed in an epoch, so that runs that differ in `seed` alone
    show a teacher the same views. A precision of None is settled by `edgekd.training.precision.settle_precision`, by
    rule, when the run starts.
    """

    steps: int = Field(ge=1)
    batch_size: int = Field(128, ge=1)
    optimizer: Optimizer = "sgd"
    learning_rate: float = Field(0.03, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    warmup_share: float = Field(0.05, ge=0, le=1)
    clip_norm: float = Field(5.0, gt=0)
    losses: tuple[WeightedLoss, ...] = parse_losses(("standardised_logits",))
    temperature: float | None = Field(None, gt=0)
    """Softmax temperature of all output losses; None is each loss's own."""
    pairs: tuple[tuple[str, str], ...] = ()
    peers: int = Field(0, ge=0)
    """Further students that are trained beside this one; all teach one another (Zhang et al. 2018)."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    average_share: float = Field(0.05, gt=0, le=1)
    recalibration_batches: int = Field(20, ge=0)
    augment: Augment = "crop"
    mixup: float = Field(0.0, ge=0)
    """Both parameters of the Beta distribution that mixing shares are drawn from; 0 mixes nothing."""
    patience: int | None = Field(None, ge=1)
    """Evaluations without a better score after which training stops early; None trains all steps."""
    evaluate_every: int = Field(500, ge=1)
    precision: Precision | None = None
    teacher_precision: Precision | None = None
    threads: int | None = Field(None, ge=1)
    """Threads that train, which decide in what order sums are taken; None is torch's own number."""
    seed: int = Field(0, ge=0)
    view_seed: int = Field(0, ge=0)


def without_teacher(plan: Plan) -> Plan:
    """Return the control's plan: labels alone, in full weight, and no setting else changed."""
    return plan.model_copy(update={"losses": (WeightedLoss(name="labels", weight=1.0),), "pairs": (), "peers": 0})


def without_features(plan: Plan) -> Plan:
    """Return the plan without losses between layers, such as it can be followed with another teacher."""
    losses = tuple(loss for loss in plan.losses if loss.name not in FEATURE_LOSSES)
    return plan.model_copy(update={"losses": losses, "pairs": ()})


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
