"""A student made from the teacher by removing channels: smaller, and still knowing most of what the teacher knows."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from edgekd.errors import BadInput, UsageError
from edgekd.formats.outputs import FAILURES, outputs_of
from edgekd.fronts.fronted import Fronted, parted
from edgekd.fronts.table import rebuild_fronts
from edgekd.students.encoder_layers import with_layers
from edgekd.students.in_blocks import prune_in_blocks
from edgekd.students.macs import count_macs, count_params
from edgekd.students.student import Student, changed_layers, resized
from edgekd.students.whole import GraphMismatch, prune_whole
from edgekd.students.zoo import architecture_from_plan, proposal


def prune(teacher: nn.Module, example: Tensor, *, keep_macs: float) -> Student:
    """Return the teacher with so few channels that at most `keep_macs` (0 to 1) of its multiply-accumulates remain.

    `example` is one input `(batch, ...)` on the CPU. The whole network is pruned where its dependency graph is sound,
    else only the channels inside blocks, and the notes say so. The teacher stays as it is; the same teacher gives the
    same student. Raises UsageError for a share outside 0 to 1 and BadInput where the goal is out of reach.
    """
    if not 0 < keep_macs < 1:
        raise UsageError(f"the share of multiply-accumulates to keep must lie between 0 and 1, not at {keep_macs}")
    total = count_macs(teacher, example)
    to_save = total - int(total * keep_macs)
    reason = "even the narrowest widths keep more"
    try:
        pruned = prune_whole(teacher, example, macs_to_save=to_save)
        if pruned is not None:
            module, removed = pruned
            _check_runs(teacher, module, example)
            if count_macs(module, example) <= total - to_save:
                return _student(teacher, module, example, {"mode": "whole", "removed": removed})
    except GraphMismatch as mismatch:
        reason = str(mismatch)
    module = copy.deepcopy(teacher).eval()
    kept = prune_in_blocks(module, example, macs_to_save=to_save)
    if kept is None or count_macs(module, example) > total - to_save:
        raise BadInput(
            f"the teacher cannot be pruned to {keep_macs:.0%} of its multiply-accumulates (in whole: {reason}; inside "
            f"its blocks: too few channels are free); {proposal(example, total - to_save)}"
        )
    try:
        _check_runs(teacher, module, example)
    except GraphMismatch as mismatch:
        raise BadInput(f"the teacher cannot be pruned: {mismatch}; {proposal(example, total - to_save)}") from mismatch
    note = f"Channels were pruned inside blocks only, because pruning the network in whole failed: {reason}."
    return _student(teacher, module, example, {"mode": "in blocks", "kept": kept}, note)


def _student(teacher: nn.Module, module: nn.Module, example: Tensor, plan: dict[str, Any], *notes: str) -> Student:
    macs, total = count_macs(module, example), count_macs(teacher, example)
    where = "in whole by its dependency graph" if plan["mode"] == "whole" else "inside blocks"
    return Student(
        module=module,
        origin=f"teacher pruned {where}, {macs / total:.1%} of its multiply-accumulates kept",
        initialised=True,
        macs=macs,
        params=count_params(module),
        teacher_macs=total,
        plan={**plan, "layers": changed_layers(teacher, module)},
        notes=notes,
    )


def _check_runs(teacher: nn.Module, student: nn.Module, example: Tensor) -> None:
    """Raise GraphMismatch unless the student maps 1 and 2 inputs to the teacher's shapes and trains in every layer."""
    changed = [student.get_submodule(name) for name in changed_layers(teacher, student)]
    for batch in (1, 2):
        inputs = torch.cat([example[:1]] * batch)
        with torch.no_grad():
            expected = [output.shape for output in outputs_of(teacher(inputs), batch)]
        try:
            outputs = outputs_of(student(inputs), batch)
            weights = [weight for layer in changed for weight in layer.parameters(recurse=False)]
            gradients = torch.autograd.grad([output.sum() for output in outputs], weights, allow_unused=True)
        except (*FAILURES, BadInput) as error:
            raise GraphMismatch(f"the pruned network does not run ({type(error).__name__})") from error
        shapes = [output.shape for output in outputs]
        if shapes != expected:
            said = ["; ".join(str(tuple(shape)) for shape in side) for side in (shapes, expected)]
            raise GraphMismatch(f"the pruned network returns {said[0]}, its teacher {said[1]}")
        if any(gradient is None for gradient in gradients):
            raise GraphMismatch("no gradient reaches a pruned layer")


def rebuild(teacher: nn.Module, example: Tensor, plan: dict[str, Any]) -> nn.Module:
    """Return the architecture of the student with this `plan`, made from the same teacher, to load its weights into.

    `example` is one input `(batch, ...)`. Raises BadInput for a plan of another version.
    """
    if plan.get("mode") not in REBUILDERS:
        raise BadInput(f"the stored student plan has an unknown mode {plan.get('mode')!r}; run again with --fresh")
    return REBUILDERS[plan["mode"]](teacher, example, plan).eval()


def _fronted(teacher: nn.Module, example: Tensor, plan: dict[str, Any]) -> nn.Module:
    front = rebuild_fronts(plan, example)
    with torch.no_grad():
        reduced = front(example)
    return Fronted(front, rebuild(parted(teacher)[1], reduced, plan["body"]))


def _resize(teacher: nn.Module, example: Tensor, plan: dict[str, Any]) -> nn.Module:
    return resized(teacher, plan["layers"])


REBUILDERS: dict[str, Callable[[nn.Module, Tensor, dict[str, Any]], nn.Module]] = {
    "whole": _resize,
    "in blocks": _resize,
    "layers": lambda teacher, example, plan: with_layers(teacher, plan),
    "architecture": lambda teacher, example, plan: architecture_from_plan(plan, example),
    "fronted": _fronted,
    "teacher": lambda teacher, example, plan: copy.deepcopy(teacher),
}
