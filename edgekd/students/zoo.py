"""Students that are architectures of their own, fitted to the task's classes, channels and image size."""

from typing import Any

import torch
from torch import Tensor, nn

from edgekd.errors import BadInput
from edgekd.formats.architecture import build_architecture

PROPOSALS = (
    (23.7e6, "mobilenetv3_small_050"),
    (59.2e6, "mobilenetv2_035"),
    (97.0e6, "mobilenetv2_050"),
    (300.8e6, "mobilenetv2_100"),
    (582.2e6, "mobilenetv2_140"),
    (1814e6, "resnet18"),
    (3664e6, "resnet34"),
)
"""Multiply-accumulates at 224 x 224 by timm name, counted with `count_macs`; ReLU students are fast as int8."""
SMALL_IMAGE = 64
LEAST_MAP = 2
"""Smallest height and width of the last feature map on which a convolution still sees more than one place."""


def proposal(example: Tensor, macs: int) -> str:
    """Return the clause that names a student for images `(batch, channels, height, width)` within `macs`."""
    if example.ndim != 4:
        return "write a smaller network and name it with --student file.py:build"
    share = max(example.shape[2] * example.shape[3], 32 * 32) / (224 * 224)
    fitting = [name for at_224, name in PROPOSALS if at_224 * share <= macs]
    return f"take a smaller network instead, as with --student timm:{fitting[-1] if fitting else PROPOSALS[0][1]}"


def architecture(spec: str, example: Tensor, *, num_classes: int) -> tuple[nn.Module, dict[str, Any], tuple[str, ...]]:
    """Return the untrained architecture of `spec`, the plan that rebuilds it, and notes on what was fitted.

    `example` is one input; for images `(batch, channels, height, width)` the first layer takes as many channels, and for
    images of at most 64 pixels the strides at the start are dropped until the last feature map is at least 2 x 2.
    """
    module = build_architecture(spec, num_classes=num_classes).eval()
    plan: dict[str, Any] = {"mode": "architecture", "spec": spec, "num_classes": num_classes, "strides_dropped": 0}
    notes = []
    if not spec.startswith(("timm:", "torchvision:")) or example.ndim != 4:
        return module, plan, ()
    if _fit_channels(module, example.shape[1]):
        notes.append(f"The first layer of {spec} takes {example.shape[1]} channels.")
    while max(example.shape[2:]) <= SMALL_IMAGE and min(_last_map(module, example)) < LEAST_MAP:
        dropped = _drop_first_stride(module)
        if dropped is None:
            break
        plan["strides_dropped"] += 1
        notes.append(f"For images this small, {spec} has no stride at {dropped}.")
    return module, plan, tuple(notes)


def architecture_from_plan(plan: dict[str, Any], example: Tensor) -> nn.Module:
    """Return the architecture that `plan` describes, fitted to `example` as it was before."""
    return architecture(plan["spec"], example, num_classes=plan["num_classes"])[0]


def _fit_channels(module: nn.Module, channels: int) -> bool:
    """Make the first convolution take `channels` inputs; return whether that changed it."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            if layer.in_channels == channels or layer.groups != 1:
                return False
            weight = layer.weight.detach()
            # The mean filter, scaled so that the response keeps its size.
            mean = weight.mean(1, keepdim=True).repeat(1, channels, 1, 1) * (layer.in_channels / channels)
            layer.weight, layer.in_channels = nn.Parameter(mean), channels
            return True
    raise BadInput("the student has no convolution to take images; choose another with --student")


def _last_map(module: nn.Module, example: Tensor) -> tuple[int, int]:
    """Return height and width of the last convolution's output, before global pooling; zeros where it does not run."""
    sizes = [(0, 0)]

    def record(layer: nn.Module, args: Any, output: Tensor) -> None:
        if isinstance(args[0], Tensor) and min(args[0].shape[2:]) > 1 or min(output.shape[2:]) > 1:
            sizes.append((output.shape[2], output.shape[3]))
        else:
            seen_single.append(True)

    seen_single: list[bool] = []
    hooks = [layer.register_forward_hook(record) for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    try:
        with torch.no_grad():
            module(example[:1])
    except RuntimeError:
        return 0, 0
    finally:
        for hook in hooks:
            hook.remove()
    return sizes[-1]
