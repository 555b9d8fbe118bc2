"""Stage 2: derive the student, train it with the teacher and once more without, and keep the better one."""

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from edgekd.data.materialise import open_split
from edgekd.device import DeviceProfile
from edgekd.distillation.ablation import ablate
from edgekd.distillation.comparison import compare
from edgekd.distillation.contest import Contest, Entry, open_cache
from edgekd.distillation.derive import derive_student, teacher_macs
from edgekd.distillation.folds import cross_validate
from edgekd.distillation.gradual import prune_in_steps
from edgekd.distillation.judge import judgement
from edgekd.distillation.lineage import born_again, gather_teachers, with_assistant
from edgekd.distillation.planning import decided_once, plan_training, wanted_losses
from edgekd.distillation.reduction import student_front
from edgekd.distillation.seeds import Bout, outputs_on, score_seeds, settle_features, train_bouts
from edgekd.distillation.tuning import tune
from edgekd.errors import UsageError
from edgekd.figures import Number, Role
from edgekd.formats.read import LoadedModel
from edgekd.judgement import Judgement, TuningTrial
from edgekd.losses.table import FEATURE_LOSSES
from edgekd.preprocessing import Preprocessing
from edgekd.progress import Listener
from edgekd.recipe import Recipe
from edgekd.record import Record
from edgekd.results import Distillation
from edgekd.students.pruning import rebuild
from edgekd.students.student import Student
from edgekd.tasks.intervals import paired_difference
from edgekd.tasks.task import Outputs, Task
from edgekd.training import processes
from edgekd.training.data import TrainingData
from edgekd.training.evaluate import model_inputs
from edgekd.training.pairing import describe, feature_similarity, find_pairs, named_pairs
from edgekd.training.plan import Plan

log = logging.getLogger(__name__)

Who = Literal["teacher", "student", "control"]
PAIRING_SAMPLES = 128


class Distilled(Record):
    """The student, how to build it again from the same teacher, and what training said."""

    origin: str
    spec: str
    build: dict[str, Any]
    macs: int | None
    params: int | None
    trained: tuple[Who, ...]
    shipped: Who
    distillation: Distillation | None
    judgement: Judgement | None = None
    notes: tuple[str, ...]


def skip_distillation() -> Distilled:
    """The result of a run that ships the teacher itself."""
    return Distilled(
        origin="the teacher itself",
        spec="none",
        build={},
        macs=None,
        params=None,
        trained=(),
        shipped="teacher",
        distillation=None,
        notes=(),
    )


def distill(
    folder: Path,
    *,
    plan: Recipe,
    teacher: LoadedModel,
    preprocessing: Preprocessing,
    outputs: int,
    task: Task,
    classes: tuple[str, ...],
    loaded: Path,
    latency_goal: tuple[DeviceProfile, float] | None,
    listen: Listener,
) -> Distilled:
    """Train the student with the teacher and, where there are labels and `plan.judge`, without; save both.

    Both start from the same weights and see the same views in the same order, where all have labels; only the loss
    differs. The better one on validation goes on. An interrupted call leaves checkpoints in `folder` from which the
    next one goes on.

    Args:
        loaded: the load stage's folder, with the splits and what the teacher says of test.
        latency_goal: device and milliseconds that --student auto is pruned to, by estimate; None keeps a share of MACs.

    Raises:
        UsageError: the student must be pruned from a model that is not trainable, or a loss cannot be computed.
        BadInput: the student cannot be derived, or training diverges.
    """
    spec = plan.student or "auto"
    example = torch.from_numpy(preprocessing.zeros(1))
    data = TrainingData(open_split(loaded / "data", "train"), open_split(loaded / "data", "val"), preprocessing, task)
    front = student_front(plan, teacher.module, data)

    def derive(offset: int) -> Student:
        return derive_student(
            spec,
            teacher,
            example,
            outputs=outputs,
            keep_macs=plan.keep_macs,
            latency_goal=latency_goal,
            seed=plan.seed + offset,
            front=front,
        )

    student = derive(0)
    for note in (student.origin, *student.notes):
        log.info("student: %s", note)
    with _contest(folder, plan, student, gather_teachers(plan, teacher, data), data, listen) as setting:
        if plan.prune_steps > 1:
            student = prune_in_steps(setting, teacher.module, student, plan.prune_steps)
            setting = replace(setting, student=student.module)
        contest, trials, remarks = _settle(setting, plan, outputs)
        if not student.initialised:
            contest = replace(contest, fresh=lambda offset: derive(offset).module)
        bouts = train_bouts(contest, plan.seeds, judged=plan.judge and data.labelled)
        if plan.generations > 1:
            bouts = tuple(born_again(contest, bout, plan.generations) for bout in bouts)
        distillation = _verdict(bouts, contest, student, spec=spec, macs=teacher_macs(teacher, student))
        log.info("%s goes on: %s", distillation.shipped, distillation.reason)
        trained = _keep_best(folder, bouts)
        judged = _judge(contest, bouts, loaded, classes, plan)
    processes.barrier()  # all have read what the first now deletes
    for done_with in ("checkpoints", "entries", "teacher-cache") if processes.leads() else ():
        shutil.rmtree(folder / done_with, ignore_errors=True)
    notes = (note for entry in trained.values() for note in entry.trained.notes)
    return Distilled(
        origin=student.origin,
        spec=spec,
        build=student.plan,
        macs=student.macs,
        params=student.params,
        trained=tuple(trained),
        shipped=distillation.shipped,
        distillation=distillation,
        judgement=judged and judged.model_copy(update={"tuning": trials}),
        notes=tuple(dict.fromkeys((*student.notes, *remarks, *notes))),
    )


def trained_modules(distilled: Distilled, teacher: LoadedModel, preprocessing: Preprocessing) -> dict[Who, nn.Module]:
    """Modules of the student's architecture, one for each set of trained weights, to be filled by the caller."""
    example = torch.from_numpy(preprocessing.zeros(1))
    return {who: rebuild(teacher.module, example, distilled.build) for who in distilled.trained}


@contextmanager
def _contest(
    folder: Path, plan: Recipe, student: Student, teacher: nn.Module, data: TrainingData, listen: Listener
) -> Iterator[Contest]:
    """What all trainings share, with the training plan as it was decided first; closes the teacher's cache."""

    def decide() -> Plan:
        pairs = _pairs(plan, student.module, teacher, data)
        return plan_training(plan, student, teacher, data, pairs=pairs, control=plan.judge and data.labelled)

    if plan.teacher_cache and data.task.every_output:
        raise UsageError(f"--teacher-cache keeps one output, and --task {data.task.name} has all; leave it out")
    settled = decided_once(folder / "training.json", decide)
    cache = None
    if (plan.teacher_cache or plan.seeds > 1 or plan.ablate or plan.tune) and not data.task.every_output:
        own = folder / "teacher-cache"
        cache = open_cache(Path(plan.teacher_cache) if plan.teacher_cache else own, teacher, data, settled)
    try:
        yield Contest(folder, student.module, teacher, data, settled, plan.accelerator, cache, listen)
    finally:
        if cache is not None:
            cache.close()


def _settle(contest: Contest, plan: Recipe, outputs: int) -> tuple[Contest, tuple[TuningTrial, ...], tuple[str, ...]]:
    """Decide who teaches, with which settings, and what is matched; with the trials, and sentences on the rest."""
    trials: tuple[TuningTrial, ...] = ()
    if plan.assistant:
        contest = with_assistant(contest, plan.assistant, outputs=outputs)
    if plan.tune and processes.count() > 1:
        raise UsageError("--tune is for one process; search alone first, then train with what it found")
    if plan.tune:
        tuned_plan, trials = tune(contest, plan.tune)
        contest = replace(contest, plan=tuned_plan)
    contest, remarks = settle_features(contest)
    if (plan.ablate or plan.folds) and not contest.data.labelled:
        remarks = (*remarks, "--ablate and --folds were left out, because they score by labels, and there are none")
    for remark in remarks:
        log.info(remark)
    return contest, trials, remarks


def _pairs(plan: Recipe, student: nn.Module, teacher: nn.Module, data: TrainingData) -> tuple[tuple[str, str], ...]:
    """The layers that feature losses match, where the recipe has any: as it names them, else as they are found."""
    if not any(loss.name in FEATURE_LOSSES for loss in wanted_losses(plan, data.task)):
        return ()
    example = model_inputs(data.train, data.preprocessing, PAIRING_SAMPLES)
    found = named_pairs(plan.pair, student, teacher, example) if plan.pair else find_pairs(student, teacher, example)
    for line in (*describe(found.pairs), *found.notes):
        log.info("layers: %s", line)
    return tuple((pair.student, pair.teacher) for pair in found.pairs)


def _verdict(
    bouts: tuple[Bout, ...], contest: Contest, student: Student, *, spec: str, macs: int | None
) -> Distillation:
    """Which of the two goes on: the better one on validation, the distilled one where they are equal."""
    first, gain = bouts[0], _gain(bouts, contest.data.task)
    shipped: Literal["student", "control"] = "student"
    reason = "no control was trained, so what the teacher was worth is not known"
    if gain is not None:
        points, low, high = (100 * (value or 0.0) for value in (gain.value, gain.low, gain.high))
        shipped = "student" if gain.value >= 0 else "control"
        reason = f"{points:+.2f} [{low:+.2f}, {high:+.2f}] points on validation against training alone"
    entries = {"student": first.student, "control": first.control}
    every = [entry for bout in bouts for entry in (bout.student, bout.control) if entry is not None]
    return Distillation(
        student=spec,
        origin=student.origin,
        macs_kept=student.macs / macs if macs else None,
        loss=", ".join(f"{loss.name} x {loss.weight:g}" for loss in contest.plan.losses),
        steps=contest.plan.steps,
        samples=first.student.trained.samples,
        unlabelled=contest.data.unlabelled,
        seconds=sum(entry.trained.seconds for entry in every),
        accelerator=first.student.trained.accelerator,
        precision=first.student.trained.precision,
        curves={who: entry.trained.curve for who, entry in entries.items() if entry is not None},
        gain=gain,
        shipped=shipped,
        reason=reason,
    )


def _gain(bouts: tuple[Bout, ...], task: Task) -> Number | None:
    """Distilled minus control on validation, mean over seeds; the interval covers the choice of samples."""
    pairs = [(bout.student, bout.control) for bout in bouts if bout.control is not None]
    if not pairs:
        return None
    ours, theirs = (np.mean([side.trained.statistics for side in sides], axis=0) for sides in zip(*pairs, strict=True))
    return paired_difference(task, ours, theirs)


def _keep_best(folder: Path, bouts: tuple[Bout, ...]) -> dict[Who, Entry]:
    """Of the seeds, the best student and the best control on validation go on, as `WHO.safetensors`."""
    sides: Mapping[Who, list[Entry]] = {
        "student": [bout.student for bout in bouts],
        "control": [bout.control for bout in bouts if bout.control is not None],
    }
    best: dict[Who, Entry] = {
        who: max(entries, key=lambda entry: entry.trained.score) for who, entries in sides.items() if entries
    }
    for who, entry in best.items() if processes.leads() else ():
        shutil.copyfile(entry.weights, folder / f"{who}.safetensors")
    return best


def _judge(
    contest: Contest, bouts: tuple[Bout, ...], loaded: Path, classes: tuple[str, ...], plan: Recipe
) -> Judgement | None:
    """What the teacher was worth on the test split, where there are labels and a control."""
    test, first, task = open_split(loaded / "data", "test"), bouts[0], contest.data.task
    if test.labels is None or first.control is None:
        return None
    entries: dict[Role, Entry] = {"student": first.student, "control": first.control}
    said: dict[Role, Outputs] = {role: outputs_on(contest, entry, test) for role, entry in entries.items()}
    said["teacher"] = np.load(loaded / "teacher_test_outputs.npy", allow_pickle=False)
    example = model_inputs(test, contest.data.preprocessing, PAIRING_SAMPLES)
    cka = {role: feature_similarity(entry.module, contest.teacher, example) for role, entry in entries.items()}
    return judgement(
        seeds=score_seeds(contest, bouts, test, said["teacher"]),
        ablation=ablate(contest, student=first.student, control=first.control, test=test) if plan.ablate else (),
        folds=cross_validate(contest, plan.folds) if plan.folds else (),
        comparison=compare(task, said, test.labels, classes=classes, cka=cka),
    )
