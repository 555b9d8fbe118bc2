"""Training a student, with its teacher or, as the control, without: everything but the loss is the same.

The order of samples, their views and the schedule follow from the plan and the step, so a run that is cut off and taken
up again ends with the same weights, bit for bit, on the same machine with the same number of threads.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgekd.errors import BadInput, UsageError
from edgekd.progress import Listener, Tick, silent
from edgekd.results import Curve
from edgekd.training import processes
from edgekd.training.checkpoint import identity_of, load_state, read_summary, save_state
from edgekd.training.data import TrainingData
from edgekd.training.interrupt import interrupt_deferred
from edgekd.training.memory import peak_kib, restart_peak
from edgekd.training.plan import Plan, without_teacher
from edgekd.training.precision import Accelerator, choose_accelerator, repeatable, settle_precision
from edgekd.training.run import Run, prepare
from edgekd.training.step import advance
from edgekd.training.teacher_cache import TeacherCache
from edgekd.training.validate import evaluate, predict, truth_of
from edgekd.training.weights import set_layout


@dataclass(frozen=True)
class Trained:
    """What a run found out; the best weights are in the module that was trained.

    `statistics`, float64 (n_val, k), is what the task scores by, per validation sample, of the best weights in float32;
    `score` follows from it. `curve` holds score and loss on validation as training saw them, at step 0 and at every
    evaluation: the loss is the labels' own, or the same against the teacher's word where there are none.
    """

    curve: Curve
    score: float
    statistics: npt.NDArray[np.float64]
    steps: int
    samples: int
    seconds: float
    accelerator: str
    precision: str
    peak_memory_kib: float | None
    resumed: bool
    notes: tuple[str, ...]


Evaluated = Callable[[int, float], None]


def unheard(step: int, score: float) -> None:
    """Hear of an evaluation and do nothing."""


def train(
    student: nn.Module,
    *,
    teacher: nn.Module | None,
    data: TrainingData,
    plan: Plan,
    checkpoint: Path,
    accelerator: Accelerator = "auto",
    cache: TeacherCache | None = None,
    phase: str = "student",
    progress: Listener = silent,
    evaluated: Evaluated = unheard,
    save_every_s: float = 60.0,
) -> Trained:
    """Train `student` in place, or go on from the checkpoint in the folder `checkpoint`; the best weights end in it.

    With `teacher` None this is the control: labels alone, in full weight, and nothing else changed, but that samples
    without a label are left out. Where there are no labels at all the score is agreement with the teacher. The teacher
    is only ever run in eval mode, without gradients.
    `evaluated` hears step and score of every evaluation; what it raises ends the training.

    Raises:
        UsageError: an unknown loss, a missing GPU, or a loss that lacks what it is computed from.
        BadInput: outputs and labels do not fit, or training diverges for good.
        KeyboardInterrupt: Ctrl-C; by then the checkpoint is written.
    """
    check_data(data, teacher)
    data = data if teacher is not None else data.labelled_only()
    place = choose_accelerator(accelerator)
    settled = settle_precision(plan if teacher is not None else without_teacher(plan), student, place)
    identity = _identity(settled, student, teacher, data, place)
    saved = read_summary(checkpoint, identity)
    threads = int(saved["ledger"]["threads"]) if saved else settled.threads or torch.get_num_threads()
    counted = restart_peak()
    with (
        repeatable(settled.seed, threads=threads),
        interrupt_deferred() as interrupted,
        processes.global_statistics(student),
    ):
        run = prepare(student, teacher=teacher, data=data, plan=settled, place=place, cache=cache)
        try:
            truth = truth_of(run)
            processes.barrier()  # none may write before all have read
            if saved:
                load_state(saved, run.state)
            else:
                evaluate(run, truth)
            loop = _Loop(
                evaluate=lambda: evaluated(*evaluate(run, truth)),
                save=lambda: _save(run, checkpoint, identity, counted=counted),
                save_every_s=save_every_s,
                interrupted=interrupted,
                phase=phase,
                progress=progress,
            )
            _steps(run, loop)
            return _finish(run, truth, resumed=saved is not None)
        finally:
            run.views.close()


def check_data(data: TrainingData, teacher: nn.Module | None) -> None:
    """Refuse, in one sentence, data that nothing can be learned from. Raises UsageError or BadInput."""
    if not len(data.train) or not len(data.val):
        raise BadInput(
            f"the data have {len(data.train)} training and {len(data.val)} validation samples; give at least one of "
            "each"
        )
    if teacher is None and not data.labelled:
        raise UsageError("data without labels can only be learned from a teacher, so no control can be trained on them")


def _identity(plan: Plan, student: nn.Module, teacher: nn.Module | None, data: TrainingData, place: str) -> str:
    settings = [plan.model_dump(mode="json"), data.preprocessing.model_dump(mode="json"), place, data.task.name]
    arrays = [data.train.inputs, data.train.labels, data.val.inputs, data.val.labels]
    return identity_of(settings=settings, modules=[student, teacher], arrays=arrays)


@dataclass(frozen=True)
class _Loop:
    """What the steps are interleaved with."""

    evaluate: Callable[[], None]
    save: Callable[[], None]
    save_every_s: float
    interrupted: Callable[[], bool]
    phase: str
    progress: Listener


def _steps(run: Run, loop: _Loop) -> None:
    """Do the steps that are left. Whatever happens to the run happens between two of them."""
    ledger, plan = run.state.ledger, run.plan
    started, earlier, first = time.monotonic(), ledger.seconds, ledger.step
    last_save = started
    while ledger.step < plan.steps and not _patience_lost(run):
        loss = advance(run)
        evaluated = ledger.step % plan.evaluate_every == 0 or ledger.step == plan.steps
        if evaluated:
            loop.evaluate()
        now = time.monotonic()
        ledger.seconds = earlier + now - started
        if evaluated or now - last_save >= loop.save_every_s:
            loop.save()
            last_save = now
        try:
            if processes.any_says(loop.interrupted()):
                raise KeyboardInterrupt
            if processes.leads():
                loop.progress(_tick(run, loop.phase, loss, (now - started) / (ledger.step - first)))
        except KeyboardInterrupt:
            loop.save()
            raise


def _tick(run: Run, phase: str, loss: float, step_s: float) -> Tick:
    ledger, size = run.state.ledger, run.plan.batch_size
    detail = f"loss {loss:.3f}  score {ledger.scores[-1]:.4f}  {size / step_s:.0f}/s"
    return Tick(phase, ledger.step, run.plan.steps, detail, seconds_left=(run.plan.steps - ledger.step) * step_s)


def _save(run: Run, folder: Path, identity: str, *, counted: bool) -> None:
    ledger = run.state.ledger
    if counted:
        ledger.peak_memory_kib = max(ledger.peak_memory_kib, peak_kib() or 0.0)
    if run.teacher is not None and run.teacher.cache is not None:
        run.teacher.cache.flush()
    if processes.leads():
        save_state(folder, identity, run.state)


def _patience_lost(run: Run) -> bool:
    patience = run.plan.patience
    return patience is not None and run.state.ledger.since_best >= patience


def _finish(run: Run, truth: npt.NDArray[np.generic], *, resumed: bool) -> Trained:
    """Put the best weights into the student and score them once more as they will ship, in float32."""
    state, ledger, task = run.state, run.state.ledger, run.data.task
    state.student.load_state_dict(state.best)
    statistics = task.statistics(predict(run, state.student, run.data.val, "32-true"), truth)
    for module in (state.student, run.teacher.module if run.teacher else None):
        if module is not None:
            set_layout(module.to("cpu"), torch.contiguous_format)
    return Trained(
        curve=Curve(steps=tuple(ledger.steps), losses=tuple(ledger.losses), scores=tuple(ledger.scores)),
        score=float(task.score(statistics.mean(axis=0))),
        statistics=statistics,
        steps=ledger.step,
        samples=ledger.step * run.plan.batch_size,
        seconds=ledger.seconds,
        accelerator=run.fabric.device.type,
        precision=str(run.plan.precision),
        peak_memory_kib=ledger.peak_memory_kib or None,
        resumed=resumed,
        notes=(*ledger.notes, *_untrained(run)),
    )


def _untrained(run: Run) -> tuple[str, ...]:
    ledger, count = run.state.ledger, len(run.data.train)
    if ledger.best_step or not ledger.step:
        return ()
    passes = ledger.step * run.plan.batch_size / count
    return (
        f"{ledger.step} steps of training ({passes:.2g} passes over {count} samples) never scored better than the "
        "student as it was derived, so that one is kept, untrained; give it more time or a lower learning rate",
    )
