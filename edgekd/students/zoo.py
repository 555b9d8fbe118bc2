"""Students that are architectures of their own, fitted to the task's classes, channels and image size."""

from typing import Any

import torch
from torch import Tensor, nn

from edgekd.errors import BadInput, reason_of
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

    timm's and torchvision's networks are fitted to `example`, images `(batch, channels, height, width)`: the first
    layer takes as many channels, and where images of at most 64 pixels would end as a single pixel, the strides
    before the first block go. Weights come from torch's random state. Raises UsageError for unknown names and BadInput
    where the network does not run on the example.
    """
    module = build_architecture(spec, num_classes=num_classes).eval()
    notes = []
    if spec.startswith(("timm:", "torchvision:")) and example.ndim == 4:
        if _fit_channels(module, example.shape[1]):
            notes.append(f"The first layer of {spec} was made to take {example.shape[1]} channels.")
        maps = _maps(module, example) if max(example.shape[2:]) <= SMALL_IMAGE else []
        if maps and min(maps[-1][1]) < LEAST_MAP:
            dropped = _drop_stem_strides(module, [layer for layer, _ in maps])
            if dropped:
                notes.append(f"For images this small, {spec} works without the stride of {' and '.join(dropped)}.")
    _check_runs(module, spec, example)
    return module, {"mode": "architecture", "spec": spec, "num_classes": num_classes}, tuple(notes)


def architecture_from_plan(plan: dict[str, Any], example: Tensor) -> nn.Module:
    """Return the architecture that `plan` describes, fitted to `example` as it was before."""
    return architecture(plan["spec"], example, num_classes=plan["num_classes"])[0]


def _fit_channels(module: nn.Module, channels: int) -> bool:
    """Make the first convolution take `channels` inputs; return whether that changed it."""
    first = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)
    if first is None or first.in_channels == channels or first.groups != 1:
        return False
    weight = torch.empty(first.out_channels, channels, *first.kernel_size)
    first.weight = nn.Parameter(nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu"))
    first.in_channels = channels
    return True


def _maps(module: nn.Module, example: Tensor) -> list[tuple[nn.Module, tuple[int, int]]]:
    """Return the layers that look at more than one pixel, as they run, with the height and width of what they return.

    Ends with (0, 0) where an image is too small to get through.
    """
    maps: list[tuple[nn.Module, tuple[int, int]]] = []

    def record(layer: nn.Module, args: Any, output: Tensor) -> None:
        if output.ndim == 4:
            maps.append((layer, (output.shape[2], output.shape[3])))

    spatial = (nn.Conv2d, nn.MaxPool2d)
    layers = [layer for layer in module.modules() if isinstance(layer, spatial) and _pair(layer.kernel_size) != (1, 1)]
    hooks = [layer.register_forward_hook(record) for layer in layers]
    try:
        with torch.no_grad():
            module(example[:1])
    except (RuntimeError, ValueError, AssertionError):
        maps.append((nn.Identity(), (0, 0)))
    finally:
        for hook in hooks:
            hook.remove()
    return maps


def _drop_stem_strides(module: nn.Module, layers: list[nn.Module]) -> list[str]:
    """Set the first strided convolution's stride to 1 and remove the max pooling behind it; return their names."""
    names = {layer: name for name, layer in module.named_modules()}
    strided = [layer for layer in layers if layer in names and _pair(layer.stride) != (1, 1)]
    dropped = []
    if strided and isinstance(strided[0], nn.Conv2d):
        strided[0].stride = (1, 1)
        dropped.append(names[strided[0]])
    if len(strided) > 1 and isinstance(strided[1], nn.MaxPool2d):
        module.set_submodule(names[strided[1]], nn.Identity())
        dropped.append(names[strided[1]])
    return dropped


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _check_runs(module: nn.Module, spec: str, example: Tensor) -> None:
    try:
        with torch.no_grad():
            module(example[:1])
    except Exception as error:
        reason = reason_of(error)
        raise BadInput(
            f"the student {spec} does not run on inputs of shape {tuple(example.shape[1:])} ({reason}); choose another "
            "with --student"
        ) from error
