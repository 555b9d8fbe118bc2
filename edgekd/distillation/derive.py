"""The untrained student: as its spec says, by its share of the teacher's MACs, or by what a latency leaves of them."""

import logging
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from edgekd.defaults import KEEP_MACS
from edgekd.device import DeviceProfile
from edgekd.errors import BadInput, UsageError
from edgekd.exporting.onnx_export import export_onnx
from edgekd.formats.identify import KIND_NAMES
from edgekd.formats.onnx_file import read_onnx
from edgekd.formats.outputs import outputs_of
from edgekd.formats.read import LoadedModel
from edgekd.fronts.fronted import Fronts
from edgekd.latency.graph import Precision, summarise
from edgekd.latency.optimised import summarise_file
from edgekd.latency.predictor import predict_summary
from edgekd.latency.x86 import is_x86_profile
from edgekd.students.build import build_student
from edgekd.students.fit import Estimate, largest_that_fits
from edgekd.students.student import Student

log = logging.getLogger(__name__)

_PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")


def derive_student(
    spec: str,
    teacher: LoadedModel,
    example: torch.Tensor,
    *,
    outputs: int,
    keep_macs: float | None,
    latency_goal: tuple[DeviceProfile, float] | None,
    seed: int,
    front: Fronts | None = None,
) -> Student:
    """Return the student of `spec` for one model input `example` (1, ...).

    Args:
        outputs: numbers in its first output, such as the number of classes.
        keep_macs: share of the teacher's multiply-accumulates; None is `KEEP_MACS`, or what `latency_goal` leaves.
        latency_goal: device and milliseconds that --student auto is pruned to, by estimate; None keeps a share.
        front: what the student alone takes its inputs through.

    Raises:
        UsageError: the student must be pruned from a model that is not trainable.
        BadInput: no student of that size can be had.
    """
    if spec == "auto" and not teacher.trainable:
        raise UsageError(
            f"The student cannot be pruned out of {KIND_NAMES[teacher.kind]}, which can only be run; "
            "give --student timm:NAME or file.py:build, or none."
        )

    def build(share: float) -> Student:
        student = build_student(
            spec, teacher.module, example, num_classes=outputs, keep_macs=share, seed=seed, front=front
        )
        check_outputs(student.module, teacher.module, spec, example)
        return student

    if latency_goal is None:
        return build(keep_macs or KEEP_MACS)
    profile, limit = latency_goal
    student, said = largest_that_fits(build, lambda one: _estimate(one, example, profile), teacher.module, limit)
    return replace(student, notes=(*student.notes, said))


def check_outputs(student: nn.Module, teacher: nn.Module, spec: str, example: torch.Tensor) -> None:
    """Refuse a student whose first output has another shape than its teacher's. Raises BadInput."""
    with torch.no_grad():
        own, wanted = (tuple(outputs_of(module(example), len(example))[0].shape) for module in (student, teacher))
    if own != wanted:
        raise BadInput(
            f"the student {spec} returns {own} for one input, but the teacher {wanted}; they must be the same numbers "
            "in the same order, so let its build function take num_classes, or build what fits"
        )


def teacher_macs(teacher: LoadedModel, student: Student) -> int | None:
    """Multiply-accumulates of the teacher, of an ONNX file counted in its graph; None where they cannot be counted."""
    if teacher.onnx_path is None:
        return student.teacher_macs or None
    try:
        return summarise(read_onnx(teacher.onnx_path)).macs or None
    except BadInput as error:
        log.info("the teacher's multiply-accumulates are not known: %s", error)
        return None


def _estimate(module: nn.Module, example: torch.Tensor, profile: DeviceProfile) -> Estimate:
    """Estimated milliseconds on the device, in float or as int8, whichever is faster there."""
    runtime = profile.runtimes["onnxruntime"]
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        path = Path(folder) / "student.onnx"
        export_onnx(module, example, path, max_opset=runtime.max_opset, max_ir=runtime.max_ir)
        summary = summarise_file(path, arm=not is_x86_profile(profile))
    latencies = {
        precision: predict_summary(summary, profile, precision=precision).latency_ms for precision in _PRECISIONS
    }
    estimates = [Estimate(found.value, precision) for precision, found in latencies.items() if found is not None]
    return min(estimates, key=lambda one: one.ms)
