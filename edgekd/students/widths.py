"""How wide each group of channels becomes: the least worth lost per operation saved, until enough is saved."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from edgekd.students.macs import LayerCost

LEAST_KEPT = 0.1
"""No group loses more than nine tenths of its channels: what remained could hardly be trained back."""

Role = Literal["out", "through", "in"]


@dataclass(frozen=True)
class Member:
    """A layer's part in a group: it produces the channels, passes them through one by one, or consumes them.

    `repeat` is what one channel takes of the layer: height times width features after a flatten, else 1.
    """

    layer: str
    role: Role
    repeat: int = 1


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that can be removed together from all members, and from nothing else.

    `multiple` is what the remaining width is a multiple of; the first member is the producer that names the group.
    """

    width: int
    multiple: int
    members: tuple[Member, ...]


def rounding(width: int) -> int:
    """Return the multiple that a width is held to: kernels compute 4 or 8 channels at a time."""
    return 8 if width >= 64 else 4 if width >= 8 else 1


def choose_widths(
    groups: Sequence[ChannelGroup], worths: Sequence[Tensor], costs: dict[str, LayerCost], *, macs_to_save: int
) -> list[int] | None:
    """Return a width for each group that together save `macs_to_save` for one sample, or None where none do.

    `worths` holds what each channel of each group is worth, `(width,)` and comparable between groups; the least go
    first. The search takes the cheapest step again and again; every step makes one group narrower by its multiple.
    """
    channels = {name: [cost.inputs, cost.outputs] for name, cost in costs.items()}
    kept_worth = [worth.sort(descending=True).values.cumsum(0).tolist() for worth in worths]
    widths = [group.width for group in groups]
    while macs_to_save > 0:
        steps = []
        for index, group in enumerate(groups):
            width = narrower(widths[index], group)
            if width is not None:
                saved = _saved(group, costs, channels, widths[index] - width)
                lost = _lost(kept_worth[index], widths[index], width)
                steps.append((lost / max(saved, 1), index, width, saved))
        if not steps:
            return None
        _, index, width, saved = min(steps)
        _shrink(channels, groups[index], widths[index] - width)
        widths[index] = width
        macs_to_save -= saved
    return widths


def _lost(kept_worth: list[float], before: int, after: int) -> float:
    """Return the fall of the logarithm of the worth kept, so that a group already thin is spared more and more."""
    worth, kept, left = kept_worth[-1], kept_worth[before - 1], kept_worth[after - 1]
    if kept <= left:
        return 0.0
    return worth * math.log(kept / left) if left > 0 else math.inf


def narrower(width: int, group: ChannelGroup) -> int | None:
    """Return the next smaller width that `group` may have, or None at its floor."""
    smaller = (width - 1) // group.multiple * group.multiple
    return smaller if smaller >= max(1.0, group.width * LEAST_KEPT) else None


def _saved(group: ChannelGroup, costs: dict[str, LayerCost], channels: dict[str, list[int]], removed: int) -> int:
    names = {member.layer for member in group.members if member.layer in costs}
    after = {name: list(channels[name]) for name in names}
    _shrink(after, group, removed)
    return sum(
        costs[name].positions * (channels[name][0] * channels[name][1] - after[name][0] * after[name][1])
        for name in names
    )


def _shrink(channels: dict[str, list[int]], group: ChannelGroup, removed: int) -> None:
    for member in group.members:
        if member.layer in channels:
            channels[member.layer][0 if member.role == "in" else 1] -= removed * member.repeat
