"""What a student is, and the plan that rebuilds its architecture from the same teacher."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

WIDTHS = ("in_channels", "out_channels", "in_features", "out_features", "num_features", "groups", "normalized_shape")
"""The attributes in which PyTorch's layers keep their widths."""


@dataclass(frozen=True)
class Student:
    """A smaller network in evaluation mode on the CPU, and where it came from.

    `initialised` says whether it carries the teacher's weights. `plan` is plain JSON: `students.pruning.rebuild` makes
    the same architecture from it. `macs` and `teacher_macs` are multiply-accumulates of one sample.
    """

    module: nn.Module
    origin: str
    initialised: bool
    macs: int
    params: int
    teacher_macs: int
    plan: dict[str, Any]
    notes: tuple[str, ...] = ()


def changed_layers(teacher: nn.Module, student: nn.Module) -> dict[str, dict[str, Any]]:
    """Return, by layer name, the widths and tensor shapes in which the pruned `student` differs from its teacher."""
    before = dict(teacher.named_modules())
    changed = {}
    for name, layer in student.named_modules():
        widths = {key: vars(layer)[key] for key in WIDTHS if key in vars(layer)}
        widths = {key: width for key, width in widths.items() if width != getattr(before[name], key)}
        old = _tensors(before[name])
        shapes = {key: list(new.shape) for key, new in _tensors(layer).items() if new.shape != old[key].shape}
        if widths or shapes:
            changed[name] = {"widths": widths, "shapes": shapes}
    return changed


def resized(teacher: nn.Module, layers: dict[str, dict[str, Any]]) -> nn.Module:
    """Return a copy of the teacher with these layers' widths and tensor shapes; resized tensors hold zeros."""
    student = copy.deepcopy(teacher).eval()
    for name, change in layers.items():
        layer = student.get_submodule(name)
        for key, width in change["widths"].items():
            setattr(layer, key, tuple(width) if isinstance(width, list) else width)
        old = _tensors(layer)
        for key, shape in change["shapes"].items():
            zeros = torch.zeros(shape, dtype=old[key].dtype)
            setattr(layer, key, nn.Parameter(zeros) if isinstance(old[key], nn.Parameter) else zeros)
    return student


def _tensors(layer: nn.Module) -> dict[str, Tensor]:
    return dict((*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)))
