"""What happens to weights besides gradient steps: their running average, and batch-norm statistics taken anew."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def set_layout(module: nn.Module, layout: torch.memory_format) -> None:
    """Bring every four-dimensional parameter and buffer into a memory layout, values unchanged.

    `Module.to(memory_format=...)` leaves one-channel weights as they are, since they count as contiguous either way.
    """
    for value in (*module.parameters(), *module.buffers()):
        if value.dim() == 4:
            value.data = value.data.clone(memory_format=layout)


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, *, decay: float) -> None:
    """Move `average` towards `module`: a <- decay x a + (1 - decay) x m, over parameters and floating-point buffers.

    Batch-norm statistics are averaged with the weights they belong to; counters are copied.
    """
    ours, theirs = average.state_dict(), module.state_dict()
    floating = [name for name, value in ours.items() if value.is_floating_point()]
    torch._foreach_lerp_([ours[name] for name in floating], [theirs[name] for name in floating], 1 - decay)
    for name in ours.keys() - set(floating):
        ours[name].copy_(theirs[name])


@torch.no_grad()
def recalibrate_batch_norm(module: nn.Module, batches: int, forward: Callable[[int], object]) -> None:
    """Take batch-norm statistics anew as the plain mean over `batches` calls of `forward(batch number)`.

    A freshly pruned net still carries the teacher's statistics, which its remaining channels no longer have.
    """
    layers = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    if not layers or not batches:
        return
    was_training, momenta = module.training, [layer.momentum for layer in layers]
    module.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    try:
        for batch in range(batches):
            forward(batch)
    finally:
        module.train(was_training)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
