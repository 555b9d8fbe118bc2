"""Who teaches: one teacher or several, an assistant of middle size in between, the student's own earlier self."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgekd.distillation.contest import Contest, enter, seeded
from edgekd.distillation.derive import check_outputs
from edgekd.distillation.seeds import Bout
from edgekd.errors import BadInput, UsageError, one_line
from edgekd.formats.identify import identify
from edgekd.formats.read import LoadedModel, read_model
from edgekd.recipe import Recipe
from edgekd.students.build import build_student
from edgekd.students.macs import count_macs
from edgekd.tasks.task import score_of
from edgekd.teachers.class_order import disagreeing
from edgekd.teachers.combine import combine
from edgekd.teachers.front import with_front
from edgekd.training.data import TrainingData
from edgekd.training.evaluate import predict_outputs
from edgekd.training.plan import without_features

log = logging.getLogger(__name__)


def gather_teachers(plan: Recipe, teacher: LoadedModel, data: TrainingData) -> nn.Module:
    """Return the teacher, or all teachers that the recipe names as one module.

    Raises:
        UsageError: they cannot be combined as asked.
        BadInput: one cannot be read, answers in another shape, is at chance, or has its classes in another order.
    """
    if not plan.co_teacher:
        return teacher.module
    if data.task.further_outputs:
        raise UsageError(f"--co-teacher is for models of one output, and those of {data.task.name} have several")
    named = {str(plan.model): teacher.module}
    named |= {text: with_front(plan, _read(Path(text), plan), data.preprocessing).module for text in plan.co_teacher}
    truth, task = data.val.labels, data.task
    said = {
        name: predict_outputs(each, data.val, data.preprocessing, every_output=task.every_output)
        for name, each in named.items()
    }
    scores = [score_of(task, outputs, truth) for outputs in said.values()] if truth is not None else None
    for name, score in zip(named, scores or (), strict=False):
        log.info("teacher %s: %.4f on validation", one_line(name), score)
    if truth is not None and task.per_class:
        complaint = disagreeing(said, truth.astype(np.int64))
        if complaint:
            raise BadInput(complaint)
    return combine(
        named,
        torch.from_numpy(data.preprocessing.zeros(1)),
        how=plan.combine,
        scores=scores,
        regression=task.label_loss == "squared_error",
    )


def _read(path: Path, plan: Recipe) -> LoadedModel:
    """A further teacher; the architecture is that of state dicts, and other files bring their own."""
    arch = plan.arch if identify(path).kind == "state dict" else None
    return read_model(path, arch=arch, trust=plan.trust)


def with_assistant(contest: Contest, spec: str, *, outputs: int) -> Contest:
    """Return the contest with an assistant for a teacher, which first learns from the contest's own.

    With --assistant auto it is the teacher pruned to the geometric mean of the two sizes, which halves the step in the
    sense in which Mirzadeh et al. 2020, "Improved Knowledge Distillation via Teacher Assistant", section 4.2, found a
    middle size to do best.

    Raises:
        UsageError: the student is not smaller than the teacher, so that nothing lies in between.
        BadInput: the assistant cannot be derived.
    """
    example = torch.from_numpy(contest.data.preprocessing.zeros(1))
    teacher, student = (count_macs(module, example) for module in (contest.teacher, contest.student))
    if not 0 < student < teacher:
        raise UsageError("--assistant needs a student smaller than its teacher; leave it out")
    share = (student / teacher) ** 0.5
    assistant = build_student(
        spec, contest.teacher, example, num_classes=outputs, keep_macs=share, seed=contest.plan.seed
    )
    check_outputs(assistant.module, contest.teacher, spec, example)
    log.info("assistant: %s", assistant.origin)
    # Layers that were paired between teacher and student need not exist in the assistant.
    plan = without_features(contest.plan)
    middle = enter(replace(contest, student=assistant.module), "assistant", taught=True, plan=plan)
    log.info("assistant: %.4f on validation", middle.trained.score)
    return replace(contest, teacher=middle.module, plan=plan, cache=None)


def born_again(contest: Contest, bout: Bout, generations: int) -> Bout:
    """Train the student again and again, each time with the last one for a teacher, and keep the best on validation.

    Each starts from the contest's untrained student: Furlanello et al. 2018, "Born-Again Neural Networks", section 3.
    """
    best = latest = bout.student
    for generation in range(2, generations + 1):
        plan = without_features(seeded(contest.plan, bout.seed - contest.plan.seed))
        name = f"{bout.student.name}-generation-{generation}"
        latest = enter(contest, name, taught=True, plan=plan, teacher=latest.module)
        log.info("generation %d: %.4f on validation, after %.4f", generation, latest.trained.score, best.trained.score)
        best = max(best, latest, key=lambda entry: entry.trained.score)
    return replace(bout, student=best)
