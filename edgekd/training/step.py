"""One step of training: view, teacher, lesson, update. And the rescue of a run whose loss is no number."""

import math
from typing import Any, cast

import torch

from edgekd.errors import BadInput
from edgekd.formats.outputs import outputs_of
from edgekd.losses.table import LABELS
from edgekd.training.evaluate import autocast
from edgekd.training.lesson import Labels, Taught
from edgekd.training.plan import average_decay, learning_rate_at
from edgekd.training.processes import agreed_mean
from edgekd.training.run import Run
from edgekd.training.views import View, view_input
from edgekd.training.weights import update_average

MAX_RECOVERIES = 3


def advance(run: Run) -> float:
    """Do the next step and return its loss; where it is no number, go back to the best weights at half the rate.

    Raises:
        BadInput: that happened more than `MAX_RECOVERIES` times, or outputs and labels do not fit together.
    """
    ledger, optimizer = run.state.ledger, run.state.optimizer
    rate = learning_rate_at(ledger.step, run.plan) * ledger.rate_scale
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    view = run.views.at(ledger.step)
    inputs = view_input(view, run.data.preprocessing, device=run.fabric.device, layout=run.layout)
    loss = run.lesson(inputs, _teach(run, view, inputs), labels_of(run, view))
    value = float(agreed_mean(loss).item())
    if math.isfinite(value):
        run.fabric.backward(loss)
        norm = run.fabric.clip_gradients(
            cast(Any, run.lesson), run.updater, max_norm=run.plan.clip_norm, error_if_nonfinite=False
        )
        if norm is not None and bool(torch.isfinite(norm)):
            run.updater.step()
            update_average(run.state.average, run.state.student, decay=average_decay(run.plan))
        else:
            value = math.nan
    ledger.step += 1
    if not math.isfinite(value):
        recover(run)
    return value


def recover(run: Run) -> None:
    """Put the best weights so far back, forget momentum, and halve the learning rate. Raises BadInput in the end."""
    ledger = run.state.ledger
    if ledger.recoveries == MAX_RECOVERIES:
        raise BadInput(
            f"training diverged: at step {ledger.step} of {run.plan.steps} the loss is no number for the "
            f"{MAX_RECOVERIES + 1}th time, although the learning rate was halved {MAX_RECOVERIES} times; "
            f"give a learning rate far below {run.plan.learning_rate:g}, or check the inputs for NaN"
        )
    ledger.recoveries += 1
    ledger.rate_scale /= 2
    ledger.notes.append(
        f"at step {ledger.step} the loss was no number: training went on from the best weights so far "
        f"at {ledger.rate_scale:g} of the planned learning rate"
    )
    run.state.student.load_state_dict(run.state.best)
    run.state.average.load_state_dict(run.state.best)
    run.state.heads.load_state_dict(run.state.best_heads)
    run.state.optimizer.state.clear()


def _teach(run: Run, view: View, inputs: torch.Tensor) -> Taught | None:
    """What the teacher says of the view, without a gradient: as kept from an earlier run, or asked now."""
    teacher, plan = run.teacher, run.plan
    if teacher is None or all(loss.name == LABELS for loss in plan.losses):
        return None
    kept = teacher.cache.get(view.keys) if teacher.cache is not None else None
    if kept is None:
        with torch.no_grad(), autocast(inputs.device, plan.teacher_precision or "32-true"), teacher.taps:
            outputs = outputs_of(teacher.module(inputs), len(inputs))
            taught = Taught(tuple(output.float() for output in outputs), teacher.taps.read())
        if teacher.cache is None:
            return taught
        # What comes back is rounded as the cache rounds, so that the student learns the same, known view or not.
        kept = teacher.cache.put(view.keys, taught.outputs[0].cpu().numpy())
    return Taught((torch.from_numpy(kept).to(inputs.device),))


def labels_of(run: Run, view: View) -> Labels | None:
    """The labels of the batch, or None where none of it has one."""
    every = run.data.train.labels
    if view.labels is None or every is None:
        return None
    labels = Labels(view.labels, view.partner_labels, view.lam)
    if view.labelled is not None:
        rows = view.labelled.nonzero()[:, 0]
        if not len(rows):
            return None
        expected = len(view.inputs) * len(every) / len(run.data.train)
        labels = labels.among(rows, weight=len(rows) / expected)
    return labels.to(run.fabric.device)
