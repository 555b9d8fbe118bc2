"""Pruning inside blocks: fewer channels between the layers of a block, the same width between blocks.

What a channel is worth is read off the weights alone: the squared norm of the filter that produces it, times the gain
of its batch normalisation, times the squared norm of the weights that read it, as a share of its group's sum.
"""

from typing import cast

import torch
from torch import Tensor, nn

from edgekd.students.channels import channel_groups
from edgekd.students.macs import layer_costs
from edgekd.students.widths import ChannelGroup, choose_widths


def prune_in_blocks(student: nn.Module, example: Tensor, *, macs_to_save: int) -> dict[str, list[int]] | None:
    """Remove channels from `student` in place until `macs_to_save` multiply-accumulates per sample are saved.

    Returns the kept channels of each group by the name of its first producer, or None, with the module untouched, where
    even the narrowest widths save less. `example` is `(batch, ...)`. Raises BadInput where tracing fails.
    """
    groups = channel_groups(student, example)
    layers = dict(student.named_modules())
    worths = [channel_worth(layers, group) for group in groups]
    widths = choose_widths(groups, worths, layer_costs(student, example), macs_to_save=macs_to_save)
    if widths is None:
        return None
    kept = {}
    for group, worth, width in zip(groups, worths, widths, strict=True):
        if width < group.width:
            order = torch.argsort(worth, descending=True, stable=True)
            chosen = torch.sort(order[:width]).values
            keep_channels(layers, group, chosen)
            kept[group.members[0].layer] = chosen.tolist()
    return kept


def channel_worth(layers: dict[str, nn.Module], group: ChannelGroup) -> Tensor:
    """Return the worth of each channel, `(width,)` float64, summing to 1 unless all are worth nothing."""
    sent = torch.zeros(group.width, dtype=torch.float64)
    read = torch.zeros(group.width, dtype=torch.float64)
    gain = torch.ones(group.width, dtype=torch.float64)
    for member in group.members:
        layer = layers[member.layer]
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            if layer.affine:
                gain *= torch.hypot(layer.weight.detach().double(), layer.bias.detach().double())
            continue
        weight = cast(Tensor, layer.weight).detach().double()
        if member.role == "in":
            read += weight.transpose(0, 1).reshape(group.width, -1).square().sum(1)
        elif member.role == "out":
            sent += weight.flatten(1).square().sum(1)
    worth = sent * gain * read
    return worth / worth.sum() if worth.sum() > 0 else worth


def keep_channels(layers: dict[str, nn.Module], group: ChannelGroup, kept: Tensor) -> None:
    """Slice every member of `group` to the channels `kept`, `(n,)` int64, in place."""
    for member in group.members:
        layer = layers[member.layer]
        index = kept
        if member.repeat > 1:
            index = (kept[:, None] * member.repeat + torch.arange(member.repeat)).flatten()
        for name, tensor in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
            dim = 1 if member.role == "in" else 0
            if tensor.ndim > dim:
                sliced = tensor.detach().index_select(dim, index)
                setattr(layer, name, nn.Parameter(sliced) if isinstance(tensor, nn.Parameter) else sliced)
        _set_width(layer, member.role, len(index))


def _set_width(layer: nn.Module, role: str, width: int) -> None:
    depthwise = role == "through" and hasattr(layer, "groups")
    names = ["num_features"] if hasattr(layer, "num_features") else []
    if role == "in" or depthwise:
        names.append("in_features" if isinstance(layer, nn.Linear) else "in_channels")
    if role == "out" or depthwise:
        names.append("out_features" if isinstance(layer, nn.Linear) else "out_channels")
    for name in names + (["groups"] if depthwise else []):
        setattr(layer, name, width)
