"""Stage 2: derive the student, train it with the teacher and once more without, and keep the better one."""

import copy
import logging
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import nn

from edgekd.data.materialise import open_split
from edgekd.data.split import Split
from edgekd.device import DeviceProfile
from edgekd.errors import BadInput, UsageError
from edgekd.exporting.onnx_export import export_onnx
from edgekd.formats.identify import KIND_NAMES
from edgekd.formats.onnx_file import read_onnx
from edgekd.formats.read import LoadedModel
from edgekd.latency.graph import Precision, summarise
from edgekd.latency.predictor import predict_summary
from edgekd.preprocessing import Preprocessing
from edgekd.progress import Listener
from edgekd.recipe import Recipe
from edgekd.record import Record
from edgekd.results import Distillation, Number
from edgekd.students.build import build_student
from edgekd.students.fit import fit_to_latency
from edgekd.students.pruning import rebuild
from edgekd.students.student import Student
from edgekd.tasks.classification import paired_difference
from edgekd.training.loop import Trained, train
from edgekd.training.plan import Augment, Plan, learning_rate_for
from edgekd.training.schedule import settle_steps
from edgekd.workspace import write_atomic

log = logging.getLogger(__name__)

Who = Literal["teacher", "student", "control"]
DEFAULT_EPOCHS = 30
KEEP_MACS = 0.5
"""Share of the teacher's MACs that --student auto keeps where neither a share nor a latency is asked for."""
_PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
_ROLES: tuple[Who, ...] = ("student", "control")


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
    labelled: bool,
    data: Path,
    latency_goal: tuple[DeviceProfile, float] | None,
    listen: Listener,
) -> Distilled:
    """Train the student with the teacher and, where there are labels and `plan.judge`, without; save both.

    Both start from the same weights and see the same views in the same order; only the loss differs. The better one on
    validation goes on. An interrupted call leaves checkpoints in `folder` from which the next one goes on.

    Args:
        latency_goal: device and milliseconds that --student auto is pruned to, by estimate; None keeps a share of MACs.

    Raises:
        UsageError: the student must be pruned from a model that is not trainable.
        BadInput: the student cannot be derived, or training diverges.
    """
    spec = plan.student or "auto"
    student = _derive(spec, plan, teacher, torch.zeros(1, *preprocessing.shape), outputs, latency_goal=latency_goal)
    for note in (student.origin, *student.notes):
        log.info("student: %s", note)
    teacher_macs = _teacher_macs(teacher, student)
    runs, settled = _train_both(
        folder,
        plan=plan,
        student=student,
        teacher=teacher.module,
        preprocessing=preprocessing,
        labelled=labelled,
        data=data,
        listen=listen,
    )
    distillation = _judge(runs, student, settled, spec=spec, teacher_macs=teacher_macs)
    log.info("%s goes on: %s", distillation.shipped, distillation.reason)
    return Distilled(
        origin=student.origin,
        spec=spec,
        build=student.plan,
        macs=student.macs,
        params=student.params,
        trained=tuple(runs),
        shipped=distillation.shipped,
        distillation=distillation,
        notes=tuple(dict.fromkeys((*student.notes, *(note for run in runs.values() for note in run.notes)))),
    )


def trained_modules(distilled: Distilled, teacher: LoadedModel, preprocessing: Preprocessing) -> dict[Who, nn.Module]:
    """Modules of the student's architecture, one for each set of trained weights, to be filled by the caller."""
    example = torch.zeros(1, *preprocessing.shape)
    return {who: rebuild(teacher.module, example, distilled.build) for who in distilled.trained}


def _derive(
    spec: str,
    plan: Recipe,
    teacher: LoadedModel,
    example: torch.Tensor,
    outputs: int,
    *,
    latency_goal: tuple[DeviceProfile, float] | None,
) -> Student:
    """The untrained student: by its share of the teacher's MACs, or by what a latency leaves of them."""
    if spec == "auto" and not teacher.trainable:
        raise UsageError(
            f"The student cannot be pruned out of {KIND_NAMES[teacher.kind]}, which can only be run; "
            "give --student timm:NAME or file.py:build, or none."
        )

    def build(keep_macs: float) -> Student:
        return build_student(spec, teacher.module, example, num_classes=outputs, keep_macs=keep_macs, seed=plan.seed)

    if latency_goal is None:
        return build(plan.keep_macs or KEEP_MACS)
    profile, limit = latency_goal
    student, said = fit_to_latency(build, lambda one: _estimate_ms(one.module, example, profile), limit)
    return replace(student, notes=(*student.notes, said))


def _estimate_ms(module: nn.Module, example: torch.Tensor, profile: DeviceProfile) -> float:
    """Estimated milliseconds on the device, in float or as int8, whichever is faster there."""
    runtime = profile.runtimes["onnxruntime"]
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        path = Path(folder) / "student.onnx"
        export_onnx(module, example, path, max_opset=runtime.max_opset, max_ir=runtime.max_ir)
        summary = summarise(read_onnx(path))
    estimates = (predict_summary(summary, profile, precision=precision).latency_ms for precision in _PRECISIONS)
    return min(estimate.value for estimate in estimates if estimate is not None)


def _train_both(
    folder: Path,
    *,
    plan: Recipe,
    student: Student,
    teacher: nn.Module,
    preprocessing: Preprocessing,
    labelled: bool,
    data: Path,
    listen: Listener,
) -> tuple[dict[Who, Trained], Plan]:
    """Train copies of the student with the teacher and, if judged, without; their weights end in `WHO.safetensors`."""
    splits = {name: open_split(data, name) for name in ("train", "val")}
    judged = plan.judge and labelled
    settled = _stored(
        folder / "training.json",
        lambda: plan_training(
            plan,
            student,
            teacher,
            train_split=splits["train"],
            validation=splits["val"],
            preprocessing=preprocessing,
            control=judged,
        ),
    )
    runs: dict[Who, Trained] = {}
    for who in _ROLES if judged else _ROLES[:1]:
        module = copy.deepcopy(student.module)
        runs[who] = train(
            module,
            teacher=teacher if who == "student" else None,
            train=splits["train"],
            val=splits["val"],
            preprocessing=preprocessing,
            plan=settled,
            accelerator=plan.accelerator,
            checkpoint=folder / "checkpoints" / who,
            phase=who,
            progress=listen,
        )
        _save_weights(module, folder / f"{who}.safetensors")
    return runs, settled


def plan_training(
    plan: Recipe,
    student: Student,
    teacher: nn.Module,
    *,
    train_split: Split,
    validation: Split,
    preprocessing: Preprocessing,
    control: bool,
) -> Plan:
    """The training plan that the recipe asks for, with everything decided that it leaves open.

    Raises:
        UsageError: an unreadable time, a time too short for one step, or a GPU that is not there.
    """
    rate = learning_rate_for("sgd", carries_weights=student.initialised, batch_size=plan.batch_size)
    chosen: dict[str, Any] = {
        "steps": 1,
        "batch_size": plan.batch_size,
        "learning_rate": plan.learning_rate or rate,
        "loss": plan.loss,
        "augment": plan.augment or _usual_augment(preprocessing),
        "seed": plan.seed,
    }
    weights = {name: getattr(plan, name) for name in ("temperature", "distill_weight", "label_weight")}
    return settle_steps(
        Plan(**chosen, **{name: value for name, value in weights.items() if value is not None}),
        epochs=None if plan.time else plan.epochs or DEFAULT_EPOCHS,
        time=plan.time,
        student=student.module,
        teacher=teacher,
        train=train_split,
        val=validation,
        preprocessing=preprocessing,
        accelerator=plan.accelerator,
        control=control,
    )


def _usual_augment(preprocessing: Preprocessing) -> Augment:
    if preprocessing.identity:
        return "none"
    return "crop" if preprocessing.channels == 1 else "crop+flip"


def _stored(path: Path, decide: Callable[[], Plan]) -> Plan:
    """The plan as first decided: a time budget is turned into steps once, so that a resumed run does the same steps."""
    if not path.is_file():
        write_atomic(path, decide().model_dump_json().encode())
    return Plan.model_validate_json(path.read_bytes())


def _save_weights(module: nn.Module, path: Path) -> None:
    """Weights without pickle; cloned, because safetensors refuses tensors that share memory."""
    weights = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in module.state_dict().items()}
    save_file(weights, path)


def _teacher_macs(teacher: LoadedModel, student: Student) -> int | None:
    """Multiply-accumulates of the teacher, of an ONNX file counted in its graph; None where they cannot be counted."""
    if teacher.onnx_path is None:
        return student.teacher_macs or None
    try:
        return summarise(read_onnx(teacher.onnx_path)).macs or None
    except BadInput as error:
        log.info("the teacher's multiply-accumulates are not known: %s", error)
        return None


def _judge(
    runs: dict[Who, Trained], student: Student, settled: Plan, *, spec: str, teacher_macs: int | None
) -> Distillation:
    """Which of the two goes on: the better one on validation, the distilled one where they are equal."""
    distilled, control = runs["student"], runs.get("control")
    gain: Number | None = None
    shipped: Literal["student", "control"] = "student"
    reason = "no control was trained, so what the teacher was worth is not known"
    if control is not None:
        gain = paired_difference(distilled.correct, control.correct, place="host")
        points, low, high = (100 * (value or 0.0) for value in (gain.value, gain.low, gain.high))
        shipped = "student" if gain.value >= 0 else "control"
        reason = f"{points:+.2f} [{low:+.2f}, {high:+.2f}] points on validation against training alone"
    return Distillation(
        student=spec,
        origin=student.origin,
        macs_kept=student.macs / teacher_macs if teacher_macs else None,
        loss=settled.loss,
        steps=settled.steps,
        images=distilled.images,
        seconds=sum(run.seconds for run in runs.values()),
        accelerator=distilled.accelerator,
        precision=distilled.precision,
        curves={who: run.curve for who, run in runs.items()},
        gain=gain,
        shipped=shipped,
        reason=reason,
    )
