"""A teacher from another domain, brought to the classes of these data; its weights are kept for the stages to come."""

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from edgekd.data.peek import DataFacts
from edgekd.distillation.contest import save_weights
from edgekd.distillation.planning import usual_augment, usual_optimizer
from edgekd.errors import UsageError
from edgekd.formats.identify import KIND_NAMES
from edgekd.formats.read import LoadedModel
from edgekd.losses.table import LABELS, WeightedLoss
from edgekd.preprocessing import Preprocessing
from edgekd.progress import Listener
from edgekd.recipe import Recipe
from edgekd.teachers.adapt import adapt, replace_head
from edgekd.training.data import TrainingData
from edgekd.training.loop import train
from edgekd.training.plan import Plan, learning_rate_for

WEIGHTS = "adapted_teacher.safetensors"
EVALUATIONS = 5


def classes_to_learn(plan: Recipe, teacher: LoadedModel, facts: DataFacts | None) -> int:
    """Return how many classes the data have. Raises UsageError where teacher or data are of no use for that."""
    if not teacher.trainable:
        raise UsageError(f"--adapt-teacher has to train the teacher, and {KIND_NAMES[teacher.kind]} can only be run")
    if facts is None or facts.labels != "classes" or facts.largest_label is None:
        raise UsageError("--adapt-teacher needs data with class labels; give --data with labels, or leave it out")
    return len(facts.classes) if facts.classes else facts.largest_label + 1


def adapt_teacher(
    folder: Path, teacher: LoadedModel, data: TrainingData, plan: Recipe, *, classes: int, listen: Listener
) -> LoadedModel:
    """Return the teacher with a head for `classes`, trained for `plan.adapt_teacher` passes; weights go to `folder`.

    Raises BadInput where no head is found, or training diverges.
    """
    data = data.labelled_only()
    example = torch.from_numpy(data.preprocessing.zeros(2))
    parts: list[str] = []

    def fit(module: nn.Module, *, share: float, rate_scale: float) -> None:
        parts.append("head" if not parts else "whole")
        batch = min(plan.batch_size, len(data.train))
        steps = max(1, round(share * (plan.adapt_teacher or 0) * len(data.train) / batch))
        train(
            module,
            teacher=None,
            data=data,
            plan=_plan(plan, module, data, steps=steps, rate_scale=rate_scale),
            accelerator=plan.accelerator,
            checkpoint=folder / "adapting" / parts[-1],
            phase=f"teacher's {parts[-1]}",
            progress=listen,
        )

    adapted = adapt(teacher.module, classes=classes, example=example, fit=fit, seed=plan.seed)
    save_weights(adapted.module, folder / WEIGHTS)
    note = f"The teacher's layer {adapted.head} was replaced and the teacher trained on these data (--adapt-teacher)."
    return replace(teacher, module=adapted.module, notes=(*teacher.notes, note))


def _plan(recipe: Recipe, module: nn.Module, data: TrainingData, *, steps: int, rate_scale: float) -> Plan:
    optimizer = recipe.optimizer or usual_optimizer(module, data.task)
    rate = recipe.learning_rate or learning_rate_for(optimizer, carries_weights=True, batch_size=recipe.batch_size)
    return Plan.model_validate(
        {
            "steps": steps,
            "batch_size": min(recipe.batch_size, len(data.train)),
            "optimizer": optimizer,
            "learning_rate": rate * rate_scale,
            "losses": (WeightedLoss(name=LABELS, weight=1.0),),
            "augment": recipe.augment or usual_augment(data.preprocessing, data.task),
            "evaluate_every": max(1, steps // EVALUATIONS),
            # A frozen trunk's statistics are frozen with it.
            "recalibration_batches": 0,
            "seed": recipe.seed,
            "view_seed": recipe.seed,
        }
    )


def with_adapted_weights(
    teacher: LoadedModel, folder: Path, preprocessing: Preprocessing, *, classes: int
) -> LoadedModel:
    """Return the teacher as `adapt_teacher` left it in `folder`."""
    network, _ = replace_head(teacher.module, classes=classes, example=torch.from_numpy(preprocessing.zeros(2)))
    network.load_state_dict(load_file(folder / WEIGHTS))
    return replace(teacher, module=network.eval())
