"""Pruning the whole network: Torch-Pruning's dependency graph finds every layer that a channel runs through.

The graph is inferred, and where an operation is not understood it is wrong without a word. So a pruned network counts
only when it computes the same as the teacher whose removed channels are ignored by all the layers that read them.
"""

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn
from torch_pruning.ops import OPTYPE

from edgekd.formats.outputs import outputs_of
from edgekd.students.macs import layer_costs
from edgekd.students.widths import ChannelGroup, Member, choose_widths, narrower, rounding

CROSS_CHANNEL = (nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)
"""Normalisations that change the channels that stay when others go; the comparison runs without them."""
TOLERANCE = 1e-3
"""Largest difference that float32 rounding may make in the comparison, as a share of the largest output."""
CONVOLUTIONS = (nn.modules.conv._ConvNd,)
FOLLOWERS = (nn.modules.batchnorm._NormBase, nn.PReLU, *CROSS_CHANNEL)

Removed = dict[str, list[int]]
"""Channels to remove by the name of the layer that produces them."""


class GraphMismatch(Exception):
    """The dependency graph does not describe this network; the message says how that showed."""


def prune_whole(teacher: nn.Module, example: Tensor, *, macs_to_save: int) -> tuple[nn.Module, Removed] | None:
    """Return a copy of the teacher that saves `macs_to_save` per sample, and the channels it lost by producing layer.

    `example` is `(batch, ...)`. Returns None where even the narrowest widths allowed save less. Raises GraphMismatch
    where the dependency graph cannot be built or the pruned copy does not compute what its graph promises.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pruner = _pruner(_trainable(teacher), example)
            found = list(_groups(pruner))
            # One step off every group: whether the graph is sound must not hang on which groups are chosen below.
            _checked(pruner, teacher, example, _removed(pruner, found, [_step(group) for group, _ in found]))
        except GraphMismatch:
            raise
        except Exception as error:
            raise GraphMismatch(f"no dependency graph of the whole network ({type(error).__name__})") from error
        groups = [group for group, _ in found]
        costs = layer_costs(pruner.model, example)
        widths = choose_widths(groups, [worth for _, worth in found], costs, macs_to_save=macs_to_save)
        if widths is None:
            return None
        removed = _removed(pruner, found, widths)
        return _checked(pruner, teacher, example, removed), removed


def remove_channels(teacher: nn.Module, example: Tensor, removed: Removed) -> nn.Module:
    """Return a copy of the teacher, in evaluation mode, without these channels and all that depends on them."""
    pruner = _pruner(_trainable(teacher), example)
    for group in _dependents(pruner, removed):
        group.prune()
    student: nn.Module = pruner.model
    return student.requires_grad_(True).eval()


def _trainable(teacher: nn.Module) -> nn.Module:
    return copy.deepcopy(teacher).requires_grad_(True).eval()


def _pruner(module: nn.Module, example: Tensor) -> Any:
    """Return Torch-Pruning's pruner, whose dependency graph and channel groups are what we use of it."""
    importance = torch_pruning.importance.GroupMagnitudeImportance(p=2, group_reduction="mean", normalizer=None)
    with torch.enable_grad():
        return torch_pruning.pruner.BasePruner(
            module, (example[:1],), importance, in_channel_groups={}, out_channel_groups={}, num_heads={}
        )


def _groups(pruner: Any) -> Iterator[tuple[ChannelGroup, Tensor]]:
    """Yield each group of coupled channels with their worth: shares of the group's sum, once for every reader."""
    names = {module: name for name, module in pruner.model.named_modules()}
    for coupled in pruner.DG.get_all_groups(root_module_types=pruner.root_module_types):
        if any(dep.target.type == OPTYPE.OUTPUT for dep, _ in coupled):
            continue
        importance = pruner.estimate_importance(coupled)
        if importance is None:
            continue
        parts = pruner._get_channel_groups(coupled)
        width = len(importance) // parts
        members = []
        for dep, indices in coupled:
            layer = dep.target.module
            if layer in names and not isinstance(layer, FOLLOWERS):
                reads = pruner.DG.is_in_channel_pruning_fn(dep.handler)
                reads = reads and not pruner.DG.is_out_channel_pruning_fn(dep.handler)
                share = len(indices) // width // (layer.groups if reads and isinstance(layer, CONVOLUTIONS) else 1)
                members.append(Member(names[layer], "in" if reads else "out", share))
        worth = importance.detach().double().view(parts, width).mean(0)
        readers = sum(member.role == "in" for member in members)
        if not readers:  # outputs of the network
            continue
        group = ChannelGroup(width, max(1, rounding(width * parts) // parts), tuple(members))
        yield group, worth / worth.sum().clamp(min=1e-30) * readers


def _step(group: ChannelGroup) -> int:
    return narrower(group.width, group) or group.width


def _removed(pruner: Any, found: list[tuple[ChannelGroup, Tensor]], widths: list[int]) -> Removed:
    """Return the channels of least worth that each producer loses at these widths."""
    return {
        group.members[0].layer: _least(pruner, group, worth, width)
        for (group, worth), width in zip(found, widths, strict=True)
        if width < group.width
    }


def _checked(pruner: Any, teacher: nn.Module, example: Tensor, removed: Removed) -> nn.Module:
    """Return the teacher without these channels. Raises GraphMismatch where it does not run or differs."""
    try:
        student = remove_channels(teacher, example, removed)
        _check_same_function(pruner, student, example, removed)
        pruner.model.load_state_dict(teacher.state_dict())
    except GraphMismatch:
        raise
    except Exception as error:
        raise GraphMismatch(f"the network does not run when pruned in whole ({type(error).__name__})") from error
    return student


def _least(pruner: Any, group: ChannelGroup, worth: Tensor, width: int) -> list[int]:
    """Return the producer's channels to remove so that `width` are left in each of its parts."""
    least = torch.argsort(worth, stable=True)[: group.width - width]
    channels = pruner.DG.get_out_channels(pruner.model.get_submodule(group.members[0].layer))
    every = torch.arange(0, channels, group.width)[:, None] + least
    return sorted(every.flatten().tolist())


def _dependents(pruner: Any, removed: Removed) -> Iterator[Any]:
    for name, channels in removed.items():
        layer = pruner.model.get_submodule(name)
        remover = pruner.DG.get_pruner_of_module(layer).prune_out_channels
        yield pruner.DG.get_pruning_group(layer, remover, channels)


def _check_same_function(pruner: Any, student: nn.Module, example: Tensor, removed: Removed) -> None:
    """Compare the student with the pruner's copy of the teacher, whose readers of removed channels get zeros there.

    Both run without the normalisations that mix channels. Raises GraphMismatch where the outputs differ.
    """
    for group in _dependents(pruner, removed):
        for dep, indices in group:
            if isinstance(dep.target.module, nn.Module) and hasattr(dep.target.module, "weight"):
                _ignore_inputs(pruner, dep, indices)
            elif any(True for _ in getattr(dep.target.module, "parameters", list)()):
                raise GraphMismatch(f"{type(dep.target.module).__name__} cannot be checked when pruned in whole")
    generator = torch.Generator().manual_seed(0)
    if example.is_floating_point():
        noise = torch.randn(example[:1].shape, generator=generator, dtype=example.dtype)
    else:
        noise = torch.randint(0, 2, example[:1].shape, generator=generator)  # indices that every table has
    with torch.no_grad():
        promised = outputs_of(_without_mixing(copy.deepcopy(pruner.model))(noise), 1)
        found = outputs_of(_without_mixing(copy.deepcopy(student))(noise), 1)
    for expected, actual in zip(promised, found, strict=True):
        if expected.shape != actual.shape or not torch.isfinite(expected).all():
            raise GraphMismatch("the network pruned in whole gives outputs of another shape or not finite")
        if (expected - actual).abs().max() > TOLERANCE * expected.abs().max():
            raise GraphMismatch("the network pruned in whole does not compute what its dependency graph promises")


def _ignore_inputs(pruner: Any, dep: Any, indices: list[int]) -> None:
    """Put zeros in the weights with which a layer reads these of its input channels."""
    layer = dep.target.module
    known = isinstance(layer, (*CONVOLUTIONS, nn.Linear, *FOLLOWERS))
    if not known:
        raise GraphMismatch(f"{type(layer).__name__} cannot be checked when pruned in whole")
    if pruner.DG.is_out_channel_pruning_fn(dep.handler) or isinstance(layer, FOLLOWERS):
        return
    with torch.no_grad():
        if getattr(layer, "transposed", False):
            layer.weight[indices] = 0
        elif isinstance(layer, nn.Linear) or layer.groups == 1:
            layer.weight[:, indices] = 0
        else:
            inputs, outputs = layer.weight.shape[1], layer.weight.shape[0] // layer.groups
            for index in indices:
                part, channel = divmod(index, inputs)
                layer.weight[part * outputs : (part + 1) * outputs, channel] = 0


def _without_mixing(module: nn.Module) -> nn.Module:
    mixing = [name for name, part in module.named_modules() if isinstance(part, CROSS_CHANNEL)]
    for name in mixing:
        module.set_submodule(name, nn.Identity())
    return module.eval()
