"""A student pruned in steps: a few channels go, what is left recovers in a short training, and the next few go.

After Molchanov et al. 2017, "Pruning Convolutional Neural Networks for Resource Efficient Inference", section 2, where
pruning and fine-tuning take turns; the steps are even in the logarithm of the multiply-accumulates.
"""

import logging
import math
from dataclasses import replace

import torch
from torch import nn

from edgekd.distillation.contest import Contest, enter
from edgekd.students.macs import count_macs
from edgekd.students.pruning import prune
from edgekd.students.student import Student, changed_layers
from edgekd.training.plan import Plan, without_features, without_teacher

log = logging.getLogger(__name__)

RECOVERY_SHARE = 0.1
"""Steps of each recovery, as a share of the student's own training."""


def prune_in_steps(contest: Contest, teacher: nn.Module, student: Student, steps: int) -> Student:
    """Return a student as small as `student`, pruned out of `teacher` in so many steps with training in between.

    Recovery is by labels alone where there are any, so that the control, which starts from the same weights, owes the
    teacher no more than these.

    Raises what `enter` raises; BadInput where a step cannot be pruned.
    """
    example = torch.from_numpy(contest.data.preprocessing.zeros(1))
    total, goal = count_macs(teacher, example), student.macs
    reached, plan = teacher, _recovery(contest.plan, labelled=contest.data.labelled)
    for step in range(1, steps):
        wanted = total * (goal / total) ** (step / steps)
        smaller = prune(reached, example, keep_macs=wanted / count_macs(reached, example)).module
        entry = enter(replace(contest, student=smaller), f"pruned-{step}", taught=not contest.data.labelled, plan=plan)
        log.info("%.0f %% of the teacher's MACs: %.4f on validation", 100 * wanted / total, entry.trained.score)
        reached = entry.module
    last = prune(reached, example, keep_macs=goal / count_macs(reached, example))
    return replace(
        last,
        origin=f"teacher pruned in {steps} steps, {last.macs / total:.1%} of its multiply-accumulates kept",
        teacher_macs=student.teacher_macs,
        plan={"mode": last.plan["mode"], "layers": changed_layers(teacher, last.module)},
        notes=student.notes,
    )


def _recovery(plan: Plan, *, labelled: bool) -> Plan:
    """The student's plan, shorter; scored once, at its end."""
    steps = math.ceil(RECOVERY_SHARE * plan.steps)
    short = plan.model_copy(update={"steps": steps, "evaluate_every": steps, "mixup": 0.0, "peers": 0})
    return without_teacher(short) if labelled else without_features(short)
