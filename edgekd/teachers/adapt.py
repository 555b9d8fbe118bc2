"""A teacher from another domain, brought to this one: a new head on a frozen trunk, then everything at a lower rate.

Training the head first keeps the trunk's features from being distorted by the large gradients of a random head: Kumar
et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", section 4 (LP-FT).
"""

import copy
import logging
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from edgekd.errors import BadInput
from edgekd.formats.outputs import outputs_of

log = logging.getLogger(__name__)

HEAD_SHARE = 0.3
"""Share of the training that the new head gets on its own; the rest goes to all layers."""
WHOLE_RATE_SCALE = 0.1
"""Learning rate of the second part against the first: the usual tenth for layers that already were trained."""


class Fit(Protocol):
    """Trains the parameters of `module` that require gradients, in place, for a share of the training planned, at the
    planned learning rate times `rate_scale`. It takes no batch-norm statistics anew: a frozen trunk keeps its own."""

    def __call__(self, module: nn.Module, *, share: float, rate_scale: float) -> None: ...


@dataclass(frozen=True)
class Adapted:
    """The adapted teacher in eval mode, and the name of the layer that was replaced."""

    module: nn.Module
    head: str


class FrozenTrunk(nn.Module):
    """A network of which only the head learns: the rest needs no gradients and stays in eval mode, so that batch-norm
    statistics and dropout rest too, whatever mode is asked for."""

    def __init__(self, network: nn.Module, head: str) -> None:
        super().__init__()
        self.network, self.head = network.requires_grad_(False), head
        network.get_submodule(head).requires_grad_(True)

    def train(self, mode: bool = True) -> "FrozenTrunk":
        super().train(False)
        self.training = mode
        self.network.get_submodule(self.head).train(mode)
        return self

    def forward(self, *inputs: torch.Tensor) -> object:
        return self.network(*inputs)


def adapt(teacher: nn.Module, *, classes: int, example: torch.Tensor, fit: Fit, seed: int = 0) -> Adapted:
    """Return a copy of the teacher with a head for `classes`, trained by `fit`; the teacher stays as it is.

    `example` is one input (batch, ...) on the teacher's device; `seed` is of the new head's weights. Raises BadInput
    where no layer of the teacher can be recognised as its head.
    """
    network, head = replace_head(teacher, classes=classes, example=example, seed=seed)
    log.info("the teacher's layer %s is replaced by one for %d classes and trained", head, classes)
    fit(FrozenTrunk(network, head).train(), share=HEAD_SHARE, rate_scale=1.0)
    network.requires_grad_(True)
    fit(network.train(), share=1 - HEAD_SHARE, rate_scale=WHOLE_RATE_SCALE)
    return Adapted(network.eval(), head)


def replace_head(teacher: nn.Module, *, classes: int, example: torch.Tensor, seed: int = 0) -> tuple[nn.Module, str]:
    """Return a copy of the teacher, in eval mode, whose last classifier gives `classes` outputs, and that layer's name.

    The head is the last linear layer or 1x1 convolution to run that has as many outputs as the model, and with which
    replaced the model runs and gives (batch, classes): so a pooling or softmax may still follow it. Raises BadInput
    where there is none.
    """
    if all(_width(layer) is None for layer in teacher.modules()):
        raise BadInput(
            "the teacher has no layers that could be trained anew, as an ONNX file has none; give its weights"
        )
    network = copy.deepcopy(teacher).eval()
    outputs, ran = _layers_run(network, example)
    for name in reversed(ran):
        old = network.get_submodule(name)
        if _width(old) != outputs:
            continue
        _set(network, name, _resized(old, classes, seed))
        if _outputs(network, example) == classes:
            return network, name
        _set(network, name, old)
    raise BadInput(
        f"no linear layer or 1x1 convolution of the teacher can be replaced to give {classes} outputs in place of "
        f"{outputs}; give a teacher that was trained on these classes"
    )


def _layers_run(network: nn.Module, example: torch.Tensor) -> tuple[int, list[str]]:
    """How many outputs the network has, and its candidates for a head in the order in which they last ran."""
    ran: list[str] = []
    hooks = [
        layer.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, layer in network.named_modules()
        if name and _width(layer) is not None
    ]
    try:
        with torch.no_grad():
            output = outputs_of(network(example), len(example))[0]
    finally:
        for hook in hooks:
            hook.remove()
    if output.dim() != 2:
        raise BadInput(
            f"the teacher returns {tuple(output.shape)}, not logits (batch, classes): it has no head to adapt"
        )
    return output.shape[1], list(dict.fromkeys(reversed(ran)))[::-1]


def _outputs(network: nn.Module, example: torch.Tensor) -> int | None:
    """Width of the network's first output, or None where it does not run or returns something else."""
    try:
        with torch.no_grad():
            output = outputs_of(network(example), len(example))[0]
    except (BadInput, RuntimeError, ValueError, TypeError):  # the layer's width is built into what follows it
        return None
    return output.shape[1] if output.dim() == 2 else None


def _width(layer: nn.Module) -> int | None:
    if isinstance(layer, nn.Linear):
        return layer.out_features
    if isinstance(layer, nn.Conv2d) and layer.kernel_size == layer.stride == (1, 1) and layer.groups == 1:
        return layer.out_channels
    return None


def _resized(old: nn.Module, classes: int, seed: int) -> nn.Module:
    """A layer of the same kind with `classes` outputs and fresh weights."""
    new: nn.Module
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(old, nn.Conv2d):
            new = nn.Conv2d(old.in_channels, classes, 1, bias=old.bias is not None)
        else:
            assert isinstance(old, nn.Linear)
            new = nn.Linear(old.in_features, classes, bias=old.bias is not None)
    weight = next(old.parameters())
    return new.to(device=weight.device, dtype=weight.dtype)


def _set(network: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, layer)
