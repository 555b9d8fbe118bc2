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

from edgekd.data.split import Split
from edgekd.preprocessing import Preprocessing
from edgekd.progress import Listener, Tick, silent
from edgekd.results import Curve
from edgekd.training.checkpoint import Ledger, identity_of, load_state, read_summary, save_state
from edgekd.training.evaluate import correct, predict_logits
from edgekd.training.interrupt import interrupt_deferred
from edgekd.training.plan import Plan
from edgekd.training.precision import Accelerator, choose_accelerator, repeatable, settle_precision
from edgekd.training.step import Run, advance, check_classes, check_plan, prepare, recover


@dataclass(frozen=True)
class Trained:
    """What a run found out; the best weights are in the module that was trained.

    `correct`, bool (n_val,), is per validation sample, of the best weights in float32; `score` is its mean. `curve`
    holds score and loss on validation as training saw them, at step 0 and at every evaluation: the loss is the
    cross-entropy against the labels, or against the teacher's probabilities where there are none.
    """

    curve: Curve
    score: float
    correct: npt.NDArray[np.bool_]
    steps: int
    images: int
    seconds: float
    accelerator: str
    precision: str
    resumed: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Truth:
    """What validation is held against: classes int64 (n,), and probabilities (n, classes) where a teacher gave them."""

    classes: npt.NDArray[np.int64]
    probabilities: torch.Tensor | None


def train(
    student: nn.Module,
    *,
    teacher: nn.Module | None,
    train: Split,
    val: Split,
    preprocessing: Preprocessing,
    plan: Plan,
    checkpoint: Path,
    accelerator: Accelerator = "auto",
    phase: str = "student",
    progress: Listener = silent,
    save_every_s: float = 60.0,
) -> Trained:
    """Train `student` in place, or go on from the checkpoint in the folder `checkpoint`; the best weights end in it.

    With `teacher` None this is the control: labels alone, in full weight, and nothing else changed. Where there are no
    labels the score is agreement with the teacher. The teacher is only ever run in eval mode, without gradients.

    Raises:
        UsageError: an unknown loss, a missing GPU, or neither labels nor a teacher.
        BadInput: outputs and labels do not fit, or training diverges for good.
        KeyboardInterrupt: Ctrl-C; by then the checkpoint is written.
    """
    check_plan(plan, teacher, train)
    place = choose_accelerator(accelerator)
    settled = settle_precision(plan, student, place)
    settings = [settled.model_dump(mode="json"), preprocessing.model_dump(mode="json"), place, teacher is not None]
    arrays = [train.images, train.labels, val.images, val.labels]
    identity = identity_of(settings=settings, modules=[student, teacher], arrays=arrays)
    saved = read_summary(checkpoint, identity)
    threads = int(saved["ledger"]["threads"]) if saved else torch.get_num_threads()
    with repeatable(settled.seed, threads=threads), interrupt_deferred() as interrupted:
        run = prepare(
            student, teacher=teacher, train=train, preprocessing=preprocessing, plan=settled, place=place
        )
        try:
            truth = _truth(run, val)
            if saved:
                load_state(saved, run.state)
            else:
                _evaluate(run, val, truth)

            def save() -> None:
                save_state(checkpoint, identity, run.state)

            def after_step(loss: float, last_save: float) -> float:
                return 0.0

            _steps(run, val, truth, save=save, save_every_s=save_every_s, interrupted=interrupted, tell=_teller(run, phase, progress))
        finally:
            run.views.close()
        return _finish(run, val, truth, resumed=saved is not None)
