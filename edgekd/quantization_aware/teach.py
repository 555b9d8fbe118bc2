"""The loop that teaches a fake-quantized student what the float model says."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError
from torch import nn

from edgekd.progress import Listener, Tick
from edgekd.quantization_aware.losses import Loss, Outputs
from edgekd.record import Record
from edgekd.workspace import fingerprint, write_atomic

Array = npt.NDArray[Any]
Run = Callable[[torch.Tensor], Outputs]

EVALUATIONS = 8
CLIP_NORM = 1.0
PROBE_STEPS = 3


@dataclass(frozen=True)
class Course:
    """How to teach: `passes` over the inputs in batches, Adam at `learning_rate` falling as half a cosine.

    `plan` is the file that keeps how many steps fit into `seconds`.
    """

    passes: int
    batch_size: int
    learning_rate: float
    seed: int
    seconds: float | None
    plan: Path | None = None


class Plan(Record):
    """How many steps a probe said there is time for, with the settings that `made_from` stands for."""

    made_from: str
    steps: int


@dataclass(frozen=True)
class Lesson:
    """What came of it; the student holds the weights of `best_step`. Losses are those on the held-out inputs."""

    steps: int
    best_step: int
    before_loss: float
    after_loss: float
    notes: tuple[str, ...]


def teach(
    student: nn.Module,
    teacher: Run,
    loss: Loss,
    *,
    inputs: Array,
    held_out: Array,
    course: Course,
    listen: Listener,
) -> Lesson:
    """Train in place until the steps are done, and leave the student as it was best on `held_out`, step 0 included."""
    steps, notes = _steps(student, teacher, loss, inputs, held_out, course)
    order = _Order(len(inputs), course)
    optimizer = torch.optim.Adam(student.parameters(), lr=course.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    before = best = evaluate(student, teacher, loss, held_out, course.batch_size)
    kept, best_step = copy.deepcopy(student.state_dict()), 0
    started, done = time.monotonic(), 0
    while done < steps:
        value = _step(student, optimizer, teacher, loss, _batch(inputs, order.at(done)))
        if not math.isfinite(value):
            notes += (f"at step {done + 1} the loss was no number: training ended there, with the best weights so far",)
            break
        schedule.step()
        done += 1
        detail = f"loss {value:.3g}"
        if done % max(1, steps // EVALUATIONS) == 0 or done == steps:
            now = evaluate(student, teacher, loss, held_out, course.batch_size)
            detail += f", held out {now:.3g}"
            if now < best:
                kept, best, best_step = copy.deepcopy(student.state_dict()), now, done
        left = (time.monotonic() - started) / done * (steps - done)
        listen(Tick("quantization-aware", done, steps, detail, left))
    student.load_state_dict(kept)
    return Lesson(done, best_step, before, best, notes)


@torch.no_grad()
def evaluate(student: nn.Module, teacher: Run, loss: Loss, inputs: Array, batch_size: int) -> float:
    """The mean loss over all inputs (n, ...)."""
    total = 0.0
    for start in range(0, len(inputs), batch_size):
        batch = _batch(inputs, slice(start, start + batch_size))
        total += float(loss(student(batch), teacher(batch))) * len(batch)
    return total / len(inputs)


class _Order:
    """Which inputs make up the batch of a step: every pass goes over all in an order of its own."""

    def __init__(self, count: int, course: Course) -> None:
        self.count, self.seed = count, course.seed
        self.size = min(course.batch_size, count)
        self.per_pass = count // self.size

    def at(self, step: int) -> npt.NDArray[np.int64]:
        order = np.random.default_rng((self.seed, step // self.per_pass)).permutation(self.count)
        start = step % self.per_pass * self.size
        return np.sort(order[start : start + self.size])


def _step(student: nn.Module, optimizer: torch.optim.Optimizer, teacher: Run, loss: Loss, batch: torch.Tensor) -> float:
    optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        said = teacher(batch)
    value = loss(student(batch), said)
    value.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(student.parameters(), CLIP_NORM)
    if not bool(torch.isfinite(norm)):
        return math.nan
    optimizer.step()
    return float(value.detach())


def _batch(inputs: Array, rows: Any) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(inputs[rows]))


def _steps(
    student: nn.Module, teacher: Run, loss: Loss, inputs: Array, held_out: Array, course: Course
) -> tuple[int, tuple[str, ...]]:
    """Steps of all passes, or as many as fit into the time."""
    steps = course.passes * _Order(len(inputs), course).per_pass
    if course.seconds is None:
        return steps, ()
    made_from = fingerprint(asdict(course) | {"plan": None, "inputs": inputs.shape, "held_out": held_out.shape})
    fit = _planned(course.plan, made_from)
    if fit is None:
        fit = _fitting(student, teacher, loss, inputs, held_out, course, course.seconds)
        if course.plan is not None:
            write_atomic(course.plan, Plan(made_from=made_from, steps=fit).model_dump_json().encode("utf-8"))
    if fit >= steps:
        return steps, ()
    return fit, (f"{course.seconds:g} s are enough for {fit} of {steps} steps",)


def _planned(path: Path | None, made_from: str) -> int | None:
    """What an earlier run with the same settings found: a probe of its own would differ by the machine's load."""
    if path is None:
        return None
    try:
        plan = Plan.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return plan.steps if plan.made_from == made_from else None


def _fitting(
    student: nn.Module, teacher: Run, loss: Loss, inputs: Array, held_out: Array, course: Course, seconds: float
) -> int:
    """Steps that a probe on a copy says fit into the time."""
    order = _Order(len(inputs), course)
    probe = copy.deepcopy(student)
    optimizer = torch.optim.Adam(probe.parameters(), lr=0.0)
    started = time.monotonic()
    for step in range(PROBE_STEPS):
        _step(probe, optimizer, teacher, loss, _batch(inputs, order.at(step)))
    each = (time.monotonic() - started) / PROBE_STEPS
    # Without gradients a batch takes about a third of the time.
    evaluations = (EVALUATIONS + 2) * each / 3 * len(held_out) / order.size
    return max(0, int((seconds - PROBE_STEPS * each - evaluations) / each))
