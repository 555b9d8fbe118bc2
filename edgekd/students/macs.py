"""Multiply-accumulate operations of a module, counted while it runs once."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

DENSE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


@dataclass(frozen=True)
class LayerCost:
    """Multiply-accumulates of a layer for one sample are `positions * inputs * outputs`.

    `positions` counts output positions times kernel elements, over all calls; `inputs` are inputs per group.
    """

    positions: int
    inputs: int
    outputs: int


def count_macs(module: nn.Module, example: Tensor) -> int:
    """Return the multiply-accumulates of one sample of `example` `(batch, ...)`, in evaluation mode.

    Convolutions, linear layers and the matrix products of attention count; biases, normalisation, activations and
    pooling do not, which is the convention of published figures (ResNet-18 at 224 pixels: 1.814 G). The count is half
    of what `torch.utils.flop_counter` reports.
    """
    with evaluating(module), torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(example[:1])
    return int(counter.get_total_flops()) // 2


def count_params(module: nn.Module) -> int:
    """Return the number of trainable and frozen weights; buffers such as running statistics do not count."""
    return sum(parameter.numel() for parameter in module.parameters())


def layer_costs(module: nn.Module, example: Tensor) -> dict[str, LayerCost]:
    """Return the cost of every convolution and linear layer that a sample of `example` `(batch, ...)` runs through."""
    costs: dict[str, LayerCost] = {}

    def record(name: str, layer: nn.Module, output: Tensor) -> None:
        outputs, inputs, *kernel = cast(Tensor, layer.weight).shape
        positions = output[:1].numel() // outputs * math.prod(kernel)
        before = costs[name].positions if name in costs else 0
        costs[name] = LayerCost(before + positions, inputs, outputs)

    hooks = []
    for name, layer in module.named_modules():
        if isinstance(layer, DENSE):

            def hook(layer: nn.Module, args: Any, output: Tensor, name: str = name) -> None:
                record(name, layer, output)

            hooks.append(layer.register_forward_hook(hook))
    try:
        with evaluating(module), torch.no_grad():
            module(example[:1])
    finally:
        for handle in hooks:
            handle.remove()
    return costs


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put every part of `module` into evaluation mode for the block, and back into its own mode after."""
    training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in training.items():
            part.training = mode
