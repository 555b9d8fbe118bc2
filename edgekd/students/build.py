"""The student that a run trains, by the word the user chose it with."""

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from edgekd.errors import BadInput
from edgekd.fronts.fronted import Fronted, Fronts, joined, parted
from edgekd.students.encoder_layers import keep_layers, layer_stack
from edgekd.students.macs import count_macs, count_params
from edgekd.students.pruning import prune
from edgekd.students.student import Student
from edgekd.students.zoo import architecture


def build_student(
    spec: str,
    teacher: nn.Module,
    example: Tensor,
    *,
    num_classes: int,
    keep_macs: float = 0.5,
    seed: int = 0,
    front: Fronts | None = None,
) -> Student:
    """Return the student that `spec` names, in evaluation mode on the CPU; the teacher stays as it is.

    Args:
        spec: "auto" (prune the teacher to `keep_macs` of its multiply-accumulates, of a transformer that reads token
            ids in whole layers), "none" (the teacher itself),
            "timm:NAME", "torchvision:NAME" or "file.py:build".
        example: one input `(batch, ...)`, float32, on the CPU, as the task feeds it.
        num_classes: what the function that builds an architecture is told of its outputs.
        keep_macs: share of the teacher's multiply-accumulates to keep at most, between 0 and 1; for "auto".
        seed: of the random weights of an architecture that starts untrained.
        front: what the student alone takes its inputs through, behind what the teacher takes its own through.

    Raises:
        UsageError: the spec has none of these forms or names an unknown architecture.
        BadInput: the teacher cannot be pruned that far, or the architecture does not run on the example.
    """
    theirs, body = parted(teacher)
    whole = joined(theirs, front)
    with torch.no_grad():
        taken = example if whole is None else whole(example)
    if spec in STUDENTS:
        if front is not None:
            _check_takes(body, example if theirs is None else theirs(example), taken)
        student = STUDENTS[spec](body, taken, keep_macs)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module, plan, notes = architecture(spec, taken, num_classes=num_classes)
        macs = (count_macs(module, taken), count_macs(teacher, example))
        student = Student(module, spec, False, macs[0], count_params(module), macs[1], plan, notes)
    return student if whole is None else _fronted(student, whole, teacher, example)


def _auto(teacher: nn.Module, example: Tensor, keep_macs: float) -> Student:
    stack = None if example.is_floating_point() else layer_stack(teacher)
    if stack is not None:
        return keep_layers(teacher, example, stack, keep_macs=keep_macs)
    return prune(teacher, example, keep_macs=keep_macs)


def _none(teacher: nn.Module, example: Tensor, keep_macs: float) -> Student:
    same, macs = copy.deepcopy(teacher).eval(), count_macs(teacher, example)
    return Student(same, "the teacher itself", True, macs, count_params(same), macs, {"mode": "teacher"})


def _fronted(inner: Student, front: Fronts, teacher: nn.Module, example: Tensor) -> Student:
    module = Fronted(front, inner.module).eval()
    names = " and ".join(spec["name"] for spec in front.plan["fronts"] if spec["name"] != "channel")
    return replace(
        inner,
        module=module,
        origin=f"{inner.origin}, behind {names}",
        macs=count_macs(module, example),
        teacher_macs=count_macs(teacher, example),
        plan={"mode": "fronted", **front.plan, "body": inner.plan},
    )


def _check_takes(body: nn.Module, full: Tensor, reduced: Tensor) -> None:
    """Refuse a teacher that is to be the student's own net, and does not run on the student's inputs as on its own."""
    try:
        with torch.no_grad():
            fits = body(torch.cat([reduced[:1]] * 2)).shape == body(torch.cat([full[:1]] * 2)).shape
    except (RuntimeError, ValueError, TypeError, AssertionError, IndexError, AttributeError):
        fits = False
    if not fits:
        raise BadInput(
            f"the model does not run on inputs of {'x'.join(map(str, reduced.shape[1:]))}, to which --student-input "
            "reduces them; give another --student, such as timm:NAME or file.py:build"
        )


STUDENTS: dict[str, Callable[[nn.Module, Tensor, float], Student]] = {"auto": _auto, "none": _none}
"""Students made from the teacher; any other word is an architecture."""
