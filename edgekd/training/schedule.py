"""How long to train: passes over the data or a wall-clock budget, turned once into a number of steps.

A probe times a few real steps and a real evaluation; the steps that follow from it are stored by the caller, so a
resumed run does not measure again and ends where the first would have.
"""

import copy
import logging
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from edgekd.data.split import Split
from edgekd.errors import UsageError
from edgekd.training import processes
from edgekd.training.data import TrainingData
from edgekd.training.evaluate import predict_outputs
from edgekd.training.plan import Plan, without_teacher
from edgekd.training.precision import Accelerator, choose_accelerator, repeatable, settle_precision
from edgekd.training.run import Run, prepare
from edgekd.training.step import advance
from edgekd.units import parse_seconds

log = logging.getLogger(__name__)

MOST_EVALUATIONS, FEWEST_EVALUATIONS = 20, 4
EVALUATION_SHARE = 0.1
# Part of the budget that is not planned away: saving, and a machine slower than while it was probed.
SLACK = 0.05
PROBE_SECONDS, PROBE_STEPS, MOST_PROBE_STEPS, PROBE_SAMPLES = 4.0, 3, 50, 512


@dataclass(frozen=True)
class Costs:
    """Seconds of one step with the teacher, of one without, and of one pass of one module over the validation split."""

    distill_s: float
    control_s: float
    evaluate_s: float


def settle_steps(
    plan: Plan,
    *,
    epochs: int | None,
    time: str | None,
    student: nn.Module,
    teacher: nn.Module | None,
    data: TrainingData,
    accelerator: Accelerator = "auto",
    control: bool = True,
    pairs: float = 1.0,
) -> Plan:
    """Return `plan` with its steps, evaluations and precisions settled, for student and `control` alike.

    Exactly one of `epochs` and `time` (such as "20m", for all runs together) is given; `pairs` of student and control
    are trained in it. The student is not changed.

    Raises:
        UsageError: the time is unreadable or too short for one step of each run, or the plan cannot be run.
    """
    if (epochs is None) == (time is None):
        raise UsageError("say how long to train by epochs or by time, by one of the two")
    settled = settle_precision(plan, student, choose_accelerator(accelerator))
    if epochs is not None:
        batch = min(plan.batch_size, len(data.train))
        steps = math.ceil(epochs * len(data.train) / batch)
        evaluations = min(MOST_EVALUATIONS, max(FEWEST_EVALUATIONS, epochs))
    else:
        if processes.count() > 1:
            raise UsageError("--time is for one process, which can tell what a step costs; give several --epochs")
        probe = {"student": student, "teacher": teacher, "data": data, "accelerator": accelerator}
        settled, costs = choose_threads(settled, lambda plan: measure_costs(plan, **probe))  # type: ignore[arg-type]
        seconds = parse_seconds(str(time)) / pairs
        evaluations = fit_evaluations(seconds, costs, control=control)
        steps = fit_steps(seconds, costs, control=control, evaluations=evaluations)
        batch = min(plan.batch_size, len(data.train))
        passes, rate = steps * batch / len(data.train), batch / costs.distill_s
        log.info(
            "%s is enough for %d steps (%.2g passes), at %.0f samples/s with the teacher", time, steps, passes, rate
        )
    return settled.model_copy(update={"steps": steps, "evaluate_every": math.ceil(steps / evaluations)})


def choose_threads(plan: Plan, probe: Callable[[Plan], Costs]) -> tuple[Plan, Costs]:
    """Return the plan with the number of threads that trains faster now, all or one, and what it costs.

    Where other work keeps the cores busy, threads wait for one another at every layer: on two cores under a load of
    five a small residual net trained at 71 images/s with two threads, and at 390 with one.
    """
    every = torch.get_num_threads()
    tried = [plan.model_copy(update={"threads": count}) for count in dict.fromkeys((every, 1))]
    costs = [probe(each) for each in tried]
    best = min(range(len(tried)), key=lambda at: costs[at].distill_s + costs[at].control_s)
    if best:
        log.info("training uses 1 thread: with %d it is slower here, where other work keeps the cores busy", every)
    return tried[best], costs[best]


def fit_evaluations(seconds: float, costs: Costs, *, control: bool) -> int:
    """Return how many evaluations each run has: as many as a tenth of the budget pays for, within 4 and 20."""
    affordable = EVALUATION_SHARE * seconds / (_evaluation_s(costs, control=control) or math.inf)
    return max(FEWEST_EVALUATIONS, min(MOST_EVALUATIONS, int(affordable)))


def fit_steps(seconds: float, costs: Costs, *, control: bool, evaluations: int) -> int:
    """Return the steps that each run can do when student and control together may take `seconds`.

    Counted are the steps of both, their evaluations (of the student and of its running average) with the one at step 0,
    one last pass of what ships in full precision taken as twice an evaluation, and some slack.

    Raises:
        UsageError: not even one step fits.
    """
    per_step = costs.distill_s + (costs.control_s if control else 0.0)
    fixed = (evaluations + 2) * _evaluation_s(costs, control=control)
    steps = int(((1 - SLACK) * seconds - fixed) / per_step)
    if steps < 1:
        enough = math.ceil((fixed + per_step) / (1 - SLACK))
        raise UsageError(f"--time {seconds:g}s is too short to train in: one step takes at least {enough}s in all")
    return steps


def measure_costs(
    plan: Plan,
    *,
    student: nn.Module,
    teacher: nn.Module | None,
    data: TrainingData,
    accelerator: Accelerator = "auto",
) -> Costs:
    """Time steps and an evaluation on copies of the student; `plan` has its precisions settled."""
    place = choose_accelerator(accelerator)
    part = Split(data.val.inputs[:PROBE_SAMPLES], None)
    # So many steps that the warm-up never leaves its beginning: a probe shall not diverge.
    short = plan.model_copy(update={"steps": 1_000_000, "recalibration_batches": 0})
    kinds: list[tuple[nn.Module | None, Plan, TrainingData]] = [] if teacher is None else [(teacher, short, data)]
    if data.labelled:
        kinds.append((None, without_teacher(short), data.labelled_only()))
    with repeatable(plan.seed, threads=plan.threads or torch.get_num_threads()):
        runs = [
            prepare(copy.deepcopy(student), teacher=one, data=its, plan=how, place=place) for one, how, its in kinds
        ]
        try:
            steps = _step_seconds(runs)
            how = {"device": runs[0].fabric.device, "precision": plan.precision, "layout": runs[0].layout}
            started = time.perf_counter()
            predict_outputs(runs[0].state.student, part, data.preprocessing, **how)  # type: ignore[arg-type]
            evaluate_s = (time.perf_counter() - started) * len(data.val) / len(part)
        finally:
            for run in runs:
                run.views.close()
    return Costs(steps[0], min(steps), evaluate_s)


def _evaluation_s(costs: Costs, *, control: bool) -> float:
    return 2 * costs.evaluate_s * (2 if control else 1)


def _step_seconds(runs: list[Run]) -> list[float]:
    """The median of a few steps of each run, after one of warm-up; in turns, so that a busy moment hits them alike."""
    taken: list[list[float]] = []
    for run in runs:
        advance(run)
    while len(taken) < PROBE_STEPS or (sum(map(sum, taken)) < PROBE_SECONDS and len(taken) < MOST_PROBE_STEPS):
        turn = []
        for run in runs:
            started = time.perf_counter()
            advance(run)
            turn.append(time.perf_counter() - started)
        taken.append(turn)
    return [statistics.median(column) for column in zip(*taken, strict=True)]
