"""A shallower text model: some of the teacher's layers with their weights (DistilBERT; Sanh et al. 2019, section 3).

Layers are taken evenly from the first on, as DistilBERT takes one out of two; widths stay, since what a residual stream
carries cannot be pruned without touching every layer on it.
"""

import copy
from typing import Any

from torch import Tensor, nn

from edgekd.errors import BadInput, UsageError
from edgekd.students.macs import count_macs, count_params
from edgekd.students.student import Student


def layer_stack(teacher: nn.Module) -> str | None:
    """The name of the list of like layers that attend, or None where there is none of two or more."""
    found = [
        (len(part), name)
        for name, part in teacher.named_modules()
        if isinstance(part, nn.ModuleList) and len({type(layer) for layer in part}) == 1 and _attends(part[0])
    ]
    longest = max(found, key=lambda one: one[0], default=(0, ""))
    return longest[1] if longest[0] > 1 else None


def keep_layers(teacher: nn.Module, example: Tensor, stack: str, *, keep_macs: float) -> Student:
    """Return the teacher with at most `keep_macs` (0 to 1) of the layers in `stack`, spread evenly.

    `example` is one input `(batch, ...)` on the CPU. The share is one of layers, which all cost the same; what lies
    before and behind them stays, and the kept share of all multiply-accumulates is in the student's record. Raises
    UsageError for a share outside 0 to 1 and BadInput where it leaves no layer.
    """
    if not 0 < keep_macs < 1:
        raise UsageError(f"the share of multiply-accumulates to keep must lie between 0 and 1, not at {keep_macs}")
    depth = len(_layers(teacher, stack))
    kept = int(keep_macs * depth + 1e-9)
    if kept < 1:
        raise BadInput(
            f"{keep_macs:.0%} of the teacher's {depth} layers is under one; keep {1 / depth:.0%} or more, or take a "
            "smaller network with --student file.py:build"
        )
    chosen = [at * depth // kept for at in range(kept)]
    module = with_layers(teacher, {"stack": stack, "kept": chosen})
    macs, total = count_macs(module, example), count_macs(teacher, example)
    return Student(
        module=module,
        origin=f"layers {', '.join(map(str, chosen))} of the teacher's {depth}, {macs / total:.1%} of its "
        "multiply-accumulates kept",
        initialised=True,
        macs=macs,
        params=count_params(module),
        teacher_macs=total,
        plan={"mode": "layers", "stack": stack, "kept": chosen},
    )


def with_layers(teacher: nn.Module, plan: dict[str, Any]) -> nn.Module:
    """Return a copy of the teacher, in evaluation mode, with only the layers that `plan` keeps."""
    layers = _layers(teacher, plan["stack"])
    memo: dict[int, Any] = {id(layers): nn.ModuleList(copy.deepcopy(layers[at]) for at in plan["kept"])}
    return copy.deepcopy(teacher, memo).requires_grad_(True).eval()


def _layers(teacher: nn.Module, stack: str) -> nn.ModuleList:
    layers = teacher.get_submodule(stack)
    assert isinstance(layers, nn.ModuleList)
    return layers


def _attends(layer: nn.Module) -> bool:
    return any("attention" in type(part).__name__.lower() for part in layer.modules())
