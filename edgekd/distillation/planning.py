"""From the recipe to a training plan in which nothing is left open."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgekd.defaults import EPOCHS
from edgekd.distillation.gradual import RECOVERY_SHARE
from edgekd.distillation.tuning import TRIAL_SHARE
from edgekd.errors import UsageError
from edgekd.losses.table import FEATURE_LOSSES, LABELS, OUTPUT_LOSSES, WeightedLoss, needs_labels, parse_losses
from edgekd.preprocessing import Preprocessing
from edgekd.recipe import Recipe
from edgekd.students.student import Student
from edgekd.tasks.task import Task
from edgekd.training import processes
from edgekd.training.augmentation import Augment
from edgekd.training.data import TrainingData
from edgekd.training.plan import Optimizer, Plan, learning_rate_for
from edgekd.training.schedule import settle_steps
from edgekd.workspace import write_atomic

POLL_SECONDS = 0.2


def plan_training(
    recipe: Recipe,
    student: Student,
    teacher: nn.Module,
    data: TrainingData,
    *,
    pairs: Sequence[tuple[str, str]],
    control: bool,
) -> Plan:
    """Return the plan that the recipe asks for; its time is for all that the recipe wants trained.

    `pairs` are the layers of student and teacher that feature losses match; `control` is whether one is trained.

    Raises:
        UsageError: an unknown loss, one that leaves unlabelled samples untaught, an unreadable time, a time too short
            for one step, or a GPU that is not there.
    """
    wanted = wanted_losses(recipe, data.task)
    _check_reach(wanted, data)
    optimizer = recipe.optimizer or usual_optimizer(student.module, data.task)
    given = {
        "learning_rate": recipe.learning_rate,
        "weight_decay": recipe.weight_decay,
        "augment": recipe.augment,
        "temperature": recipe.temperature,
        "patience": recipe.patience,
    }
    chosen: dict[str, Any] = {
        "steps": 1,
        "batch_size": min(recipe.batch_size, len(data.train)),
        "optimizer": optimizer,
        "learning_rate": learning_rate_for(
            optimizer, carries_weights=student.initialised, batch_size=recipe.batch_size
        ),
        "losses": tuple(loss for loss in wanted if loss.weight or loss.name == LABELS),
        "augment": usual_augment(data.preprocessing, data.task),
        "mixup": recipe.mixup,
        "peers": recipe.peers,
        "pairs": tuple(pairs),
        "seed": recipe.seed,
        "view_seed": recipe.seed,
        **{name: value for name, value in given.items() if value is not None},
    }
    plan = Plan(**chosen)
    return settle_steps(
        plan,
        epochs=None if recipe.time else recipe.epochs or EPOCHS,
        time=recipe.time,
        student=student.module,
        teacher=teacher,
        data=data,
        accelerator=recipe.accelerator,
        control=control,
        pairs=_pairs_of_trainings(recipe, plan, control=control),
    )


def _check_reach(losses: Sequence[WeightedLoss], data: TrainingData) -> None:
    """Refuse losses of which none teaches on what has no label. Raises UsageError."""
    taught = [loss.name for loss in losses if loss.weight and loss.name != LABELS]
    if data.unlabelled and all(map(needs_labels, taught)):
        raise UsageError(
            f"--loss {' and '.join(taught) or LABELS} needs labels, so nothing would teach on the {data.unlabelled} "
            "training samples without; add standardised_logits, or leave those samples out"
        )


def _pairs_of_trainings(recipe: Recipe, plan: Plan, *, control: bool) -> float:
    """How many pairs of student and control take the time of everything that is trained."""
    names = {loss.name for loss in plan.losses if loss.weight and loss.name != LABELS}
    alone = (recipe.generations - 1) * recipe.seeds + (recipe.assistant is not None) + TRIAL_SHARE * (recipe.tune or 0)
    alone += (recipe.prune_steps - 1) * RECOVERY_SHARE
    # Losses between layers are held against training without them.
    alone += bool(names & FEATURE_LOSSES.keys()) and bool(names & OUTPUT_LOSSES.keys())
    if not control:
        return recipe.seeds + alone
    alone += len(names) if recipe.ablate and len(names) > 1 else 0
    return recipe.seeds + (recipe.folds or 0) + alone / 2


def wanted_losses(recipe: Recipe, task: Task) -> tuple[WeightedLoss, ...]:
    """The losses that the recipe names, else the task's own, each with its weight. Raises UsageError."""
    return parse_losses(recipe.loss or (task.distill_loss,))


def usual_optimizer(module: nn.Module, task: Task) -> Optimizer:
    """SGD for nets with batch normalisation; without it rates must differ by layer, as AdamW lets them.

    So must those of a detector, whose classes and boxes have gradients of unlike size: on BCCD one trained by SGD found
    none of the smallest cells in 40 epochs, and by AdamW most of them in 24.
    """
    if task.further_outputs:
        return "adamw"
    return "sgd" if any(isinstance(part, _BatchNorm) for part in module.modules()) else "adamw"


def usual_augment(preprocessing: Preprocessing, task: Task) -> Augment:
    """Crops, and flips where images have colours: mirrored digits or letters would be others. A flip alone where labels
    say where things are."""
    if preprocessing.identity:
        return "none"
    if task.mirrored is not None:
        return "flip"
    return "crop" if preprocessing.channels == 1 else "crop+flip"


def decided_once(path: Path, decide: Callable[[], Plan]) -> Plan:
    """The plan as first decided: a time budget is turned into steps once, so that a resumed run does the same steps.

    Of several processes the first decides, by what a step costs it alone; the others wait for its word.
    """
    while not path.is_file() and not processes.leads():
        time.sleep(POLL_SECONDS)
    if not path.is_file():
        write_atomic(path, decide().model_dump_json().encode())
    return Plan.model_validate_json(path.read_bytes())
