"""A training run set up at step 0: the student with its losses, the teacher, the views, and the state that changes."""

import copy
import logging
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from lightning_fabric import Fabric
from torch import nn

from edgekd.errors import BadInput, UsageError
from edgekd.losses.layers import Suiting
from edgekd.losses.table import FEATURE_LOSSES, LABELS, needs_labels
from edgekd.training.checkpoint import Ledger, State
from edgekd.training.data import TrainingData
from edgekd.training.evaluate import autocast
from edgekd.training.lesson import Lesson, Tensors, build_heads, check_losses
from edgekd.training.optimizers import OPTIMIZERS
from edgekd.training.peers import make_peers
from edgekd.training.plan import Plan
from edgekd.training.processes import check_batch, fabric_options
from edgekd.training.taps import Taps
from edgekd.training.teacher_cache import TeacherCache
from edgekd.training.views import ViewReader, view_input
from edgekd.training.weights import recalibrate_batch_norm, set_layout

log = logging.getLogger(__name__)
# Fabric says at every start which precision it was given, which the results say already.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


@dataclass(frozen=True)
class Teacher:
    """Who teaches, the layers whose features it shows, and where what it said before is kept."""

    module: nn.Module
    taps: Taps
    cache: TeacherCache | None


@dataclass(frozen=True)
class Run:
    """What does not change while a run goes on, and the `state` that does.

    `lesson` and `updater` are the student with its losses, and the optimizer, as Fabric wraps them.
    """

    plan: Plan
    data: TrainingData
    fabric: Fabric
    lesson: nn.Module
    updater: Any
    teacher: Teacher | None
    views: ViewReader
    layout: torch.memory_format
    state: State


def prepare(
    student: nn.Module,
    *,
    teacher: nn.Module | None,
    data: TrainingData,
    plan: Plan,
    place: Literal["cpu", "cuda"],
    cache: TeacherCache | None = None,
) -> Run:
    """Set a run up at step 0, with the student's batch-norm statistics taken anew; `plan` has its precisions.

    Raises:
        UsageError: a loss lacks what it is computed from, or processes cannot share a batch.
        BadInput: a batch is a single sample and the student's batch normalisation cannot learn from that, or a layer
            that is named does not exist.
    """
    check_batch(plan.batch_size)
    fabric = Fabric(accelerator=place, precision=cast(Any, plan.precision), **fabric_options())
    # Fabric would round inputs and targets to bfloat16 as they come, waveforms too; autocast rounds what products take.
    fabric.strategy.precision.convert_input = lambda data: data  # type: ignore[method-assign]
    fabric.launch()
    plan = _usable(plan, data, teacher)
    augment = "none" if data.preprocessing.identity else plan.augment
    views = ViewReader(data.train, plan, augment=augment, mirrored=data.task.mirrored)
    modules = [module.to(fabric.device).eval() for module in (student, teacher) if module is not None]
    inputs = view_input(views.at(0), data.preprocessing, device=fabric.device)[:2]
    layout = choose_layout(modules, inputs)
    if plan.batch_size == 1:
        _check_single_sample(student, inputs)
    average = copy.deepcopy(student).eval()
    taught = None if teacher is None else _teacher(teacher, plan, cache, every_output=data.task.every_output)
    lesson = _lesson(student, taught, inputs, data=data, plan=plan)
    lesson.train()
    optimizer = OPTIMIZERS[plan.optimizer](lesson, plan)
    wrapped = fabric.setup_module(lesson)

    def forward(batch: int) -> object:
        with autocast(fabric.device, plan.precision or "32-true"):
            return student(view_input(views.at(batch), data.preprocessing, device=fabric.device, layout=layout))

    recalibrate_batch_norm(student, plan.recalibration_batches, forward)
    average.load_state_dict(student.state_dict())
    best = _copied(student)
    ledger = Ledger(threads=torch.get_num_threads(), notes=_notes(plan, data, lesson))
    heads = nn.ModuleList([lesson.heads, lesson.peers])
    state = State(student, average, heads, optimizer, best, _copied(heads), ledger)
    return Run(plan, data, fabric, wrapped, fabric.setup_optimizers(optimizer), taught, views, layout, state)


def _copied(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def _usable(plan: Plan, data: TrainingData, teacher: nn.Module | None) -> Plan:
    """The plan without what is not needed: losses of weight 0, the labels' where there are none, pairs that no loss
    matches. Raises UsageError where a loss lacks what it is computed from."""
    if plan.peers and data.task.further_outputs:
        raise UsageError(f"--peers teach one another the classes of one output; leave it out for {data.task.name}")
    losses = plan.losses
    if teacher is not None and data.train.labels is None:
        losses = tuple(loss for loss in losses if loss.name != LABELS)
    check_losses(
        losses,
        taught=teacher is not None,
        labelled=data.train.labels is not None,
        paired=bool(plan.pairs),
        mixed=plan.mixup > 0,
    )
    losses = tuple(loss for loss in losses if loss.weight)
    pairs = plan.pairs if any(loss.name in FEATURE_LOSSES for loss in losses) else ()
    return plan.model_copy(update={"losses": losses, "pairs": pairs})


def _teacher(module: nn.Module, plan: Plan, cache: TeacherCache | None, *, every_output: bool) -> Teacher:
    """The teacher with its taps; the cache holds a single output and no features, so anything else goes without."""
    taps = Taps(module, [pair[1] for pair in plan.pairs], whose="the teacher")
    return Teacher(module, taps, None if plan.pairs or every_output else cache)


def _lesson(
    student: nn.Module, teacher: Teacher | None, inputs: torch.Tensor, *, data: TrainingData, plan: Plan
) -> Lesson:
    layers = [pair[0] for pair in plan.pairs]
    heads: dict[str, nn.Module] = {}
    if teacher is not None and plan.pairs:
        ours = _features(student, Taps(student, layers, whose="the student"), inputs)
        theirs = _features(teacher.module, teacher.taps, inputs)
        # Drawn beside the run, so that the control, which has no heads, drops out the same units.
        with torch.random.fork_rng():
            heads = build_heads(plan.losses, ours, theirs)
    return Lesson(
        student,
        plan.losses,
        label_loss=data.task.label_loss,
        every_output=data.task.every_output,
        temperature=plan.temperature,
        label_smoothing=plan.label_smoothing,
        layers=layers,
        heads=heads,
        peers=make_peers(student, plan.peers, seed=plan.seed),
    ).to(inputs.device)


def _features(module: nn.Module, taps: Taps, inputs: torch.Tensor) -> Tensors:
    with torch.no_grad(), taps:
        module(inputs)
        return taps.read()


def choose_layout(modules: list[nn.Module], inputs: torch.Tensor) -> torch.memory_format:
    """Bring the modules into channels-last memory, the faster layout, where all of them run in it; else leave them.

    `inputs` is float32 (batch, ...). A module that calls `view` on feature maps runs in the plain layout only.
    """
    if inputs.dim() != 4:
        return torch.contiguous_format
    try:
        for module in modules:
            set_layout(module, torch.channels_last)
            with torch.no_grad():
                module(inputs.clone(memory_format=torch.channels_last))
    except RuntimeError:
        log.info("training runs in the plain memory layout, because a model does not run channels last")
        for module in modules:
            set_layout(module, torch.contiguous_format)
        return torch.contiguous_format
    return torch.channels_last


def _check_single_sample(student: nn.Module, inputs: torch.Tensor) -> None:
    try:
        with torch.no_grad():
            copy.deepcopy(student).train()(inputs)
    except ValueError as error:  # how torch says that a channel has a single value
        raise BadInput(
            f"the student cannot be trained on batches of one image ({error}); give --batch-size 2 or more, and at "
            "least as many training images"
        ) from error


def _notes(plan: Plan, data: TrainingData, lesson: Lesson) -> list[str]:
    notes = [
        f"{name} suits {len(head.used)} of the {len(plan.pairs)} pairs of layers, and matches those"
        for name, head in lesson.heads.items()
        if isinstance(head, Suiting) and len(head.used) < len(plan.pairs)
    ]
    if data.unlabelled:
        notes += [
            f"{loss.name} needs labels, so it teaches on the {len(data.train) - data.unlabelled} samples that have one"
            for loss in plan.losses
            if needs_labels(loss.name)
        ]
    if data.preprocessing.identity and plan.augment != "none":
        notes.append(
            f"augmentation {plan.augment!r} was left out, because the data already are model inputs, not images"
        )
    return notes
