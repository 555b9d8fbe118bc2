"""A network with fronts before it, as one module: what trains, is exported and counted is the whole."""

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn


class Fronts(nn.Sequential):
    """Fronts in a row; `plan` is plain JSON from which `edgekd.fronts.table.rebuild_fronts` makes them again."""

    def __init__(self, *parts: nn.Module, plan: dict[str, Any]) -> None:
        super().__init__(*parts)
        self.plan = plan


class Fronted(nn.Module):
    """`body` behind `front`. The front computes in float32 proper, whatever precision the body trains in."""

    def __init__(self, front: Fronts, body: nn.Module) -> None:
        super().__init__()
        self.front, self.body = front, body

    def forward(self, inputs: Tensor) -> Any:
        return self.body(self._reduced(inputs))

    def _reduced(self, inputs: Tensor) -> Tensor:
        with ExitStack() as stack:
            if torch.is_autocast_enabled(inputs.device.type):
                stack.enter_context(torch.autocast(inputs.device.type, enabled=False))
            if inputs.is_cuda:  # TensorFloat-32 has 10 bits, which is too coarse for the power of a quiet band
                stack.enter_context(torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False))
            reduced: Tensor = self.front(inputs)
        return reduced


def joined(first: Fronts | None, second: Fronts | None) -> Fronts | None:
    """Both in a row; None where there is none."""
    if first is None or second is None:
        return first or second
    specs = [*first.plan["fronts"], *second.plan["fronts"]]
    return Fronts(*first, *second, plan={**first.plan, "fronts": specs})


def parted(module: nn.Module) -> tuple[Fronts | None, nn.Module]:
    """The front of a module, where it has one, and what stands behind it."""
    return (module.front, module.body) if isinstance(module, Fronted) else (None, module)
