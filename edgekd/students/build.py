"""The student that a run trains, by the word the user chose it with."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from edgekd.students.encoder_layers import keep_layers, layer_stack
from edgekd.students.macs import count_macs, count_params
from edgekd.students.pruning import prune
from edgekd.students.student import Student
from edgekd.students.zoo import architecture


def build_student(
    spec: str, teacher: nn.Module, example: Tensor, *, num_classes: int, keep_macs: float = 0.5, seed: int = 0
) -> Student:
    """Return the student that `spec` names, in evaluation mode on the CPU; the teacher stays as it is.

    Args:
        spec: "auto" (prune the teacher to `keep_macs` of its multiply-accumulates, of a transformer that reads token
            ids in whole layers), "none" (the teacher itself),
            "timm:NAME", "torchvision:NAME" or "file.py:build".
        example: one input `(batch, ...)`, float32, on the CPU, as the task feeds it.
        num_classes: outputs that the student must have.
        keep_macs: share of the teacher's multiply-accumulates to keep at most, between 0 and 1; for "auto".
        seed: of the random weights of an architecture that starts untrained.

    Raises:
        UsageError: the spec has none of these forms or names an unknown architecture.
        BadInput: the teacher cannot be pruned that far, or the architecture does not fit the task.
    """
    if spec in STUDENTS:
        return STUDENTS[spec](teacher, example, keep_macs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module, plan, notes = architecture(spec, example, num_classes=num_classes)
    return _described(module, teacher, example, plan, origin=spec, notes=notes)


def _auto(teacher: nn.Module, example: Tensor, keep_macs: float) -> Student:
    stack = None if example.is_floating_point() else layer_stack(teacher)
    if stack is not None:
        return keep_layers(teacher, example, stack, keep_macs=keep_macs)
    return prune(teacher, example, keep_macs=keep_macs)


def _none(teacher: nn.Module, example: Tensor, keep_macs: float) -> Student:
    same = copy.deepcopy(teacher).eval()
    return _described(same, teacher, example, {"mode": "teacher"}, origin="the teacher itself", initialised=True)


def _described(
    module: nn.Module,
    teacher: nn.Module,
    example: Tensor,
    plan: dict[str, Any],
    *,
    origin: str,
    initialised: bool = False,
    notes: tuple[str, ...] = (),
) -> Student:
    return Student(
        module=module,
        origin=origin,
        initialised=initialised,
        macs=count_macs(module, example),
        params=count_params(module),
        teacher_macs=count_macs(teacher, example),
        plan=plan,
        notes=notes,
    )


STUDENTS: dict[str, Callable[[nn.Module, Tensor, float], Student]] = {"auto": _auto, "none": _none}
"""Students made from the teacher; any other word is an architecture."""
