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
from edgekd.errors import UsageError
from edgekd.fronts.fronted import Fronted, parted
from edgekd.students.macs import count_macs, count_params
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

    Raises what `enter` raises; UsageError for a student of fewer layers; BadInput where a step cannot be pruned.
    """
    if student.plan["mode"] == "layers":
        raise UsageError("--prune-steps is for networks that lose channels, and this one loses whole layers")
    example = torch.from_numpy(contest.data.preprocessing.zeros(1))
    (front, body), (_, reached) = parted(student.module), parted(teacher)
    seen = example if front is None else front(example)

    def whole(net: nn.Module) -> nn.Module:
        return net if front is None else Fronted(front, net).eval()

    first, total, goal = reached, count_macs(reached, seen), count_macs(body, seen)
    labelled = contest.data.labelled
    for step in range(1, steps):
        wanted = total * (goal / total) ** (step / steps)
        smaller = prune(reached, seen, keep_macs=wanted / count_macs(reached, seen)).module
        setting = replace(contest, student=whole(smaller))
        entry = enter(setting, f"pruned-{step}", taught=not labelled, plan=_recovery(contest.plan, labelled=labelled))
        log.info("%.0f %% of the teacher's MACs: %.4f on validation", 100 * wanted / total, entry.trained.score)
        _, reached = parted(entry.module)
    last = prune(reached, seen, keep_macs=goal / count_macs(reached, seen))
    module = whole(last.module)
    build = {"mode": last.plan["mode"], "layers": changed_layers(first, last.module)}
    return replace(
        student,
        module=module,
        origin=f"teacher pruned in {steps} steps, {last.macs / total:.1%} of its multiply-accumulates kept",
        macs=count_macs(module, example),
        params=count_params(module),
        plan=build if front is None else {**student.plan, "body": build},
    )


def _recovery(plan: Plan, *, labelled: bool) -> Plan:
    """The student's plan, shorter; scored once, at its end."""
    steps = math.ceil(RECOVERY_SHARE * plan.steps)
    short = plan.model_copy(update={"steps": steps, "evaluate_every": steps, "mixup": 0.0, "peers": 0})
    return without_teacher(short) if labelled else without_features(short)
