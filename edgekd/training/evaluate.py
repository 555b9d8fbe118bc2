"""Running a module over a whole split."""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgekd.data.split import Split
from edgekd.formats.outputs import outputs_of
from edgekd.preprocessing import Preprocessing
from edgekd.training.plan import Precision
from edgekd.training.views import as_input


def predict_outputs(
    module: nn.Module,
    split: Split,
    preprocessing: Preprocessing,
    *,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    precision: Precision = "32-true",
    layout: torch.memory_format = torch.contiguous_format,
    every_output: bool = False,
) -> npt.NDArray[np.float32]:
    """Return what a module on `device` says of every sample, in order: float32 (n, ...), such as logits (n, classes).

    That is its first output; with `every_output` all of them, as `joined` joins them. The module runs in eval mode and
    is left in the mode it came in. Raises BadInput where it returns no batch of tensors.
    """
    was_training = module.training
    module.eval()
    batches = []
    try:
        with torch.inference_mode():
            for start in range(0, len(split), batch_size):
                samples = torch.from_numpy(np.array(split.inputs[start : start + batch_size]))
                inputs = as_input(samples.to(device), preprocessing, layout)
                with autocast(device, precision):
                    outputs = outputs_of(module(inputs), len(samples))
                batches.append((joined(outputs) if every_output else outputs[0]).float().cpu().numpy())
    finally:
        module.train(was_training)
    return np.concatenate(batches)


def model_inputs(split: Split, preprocessing: Preprocessing, count: int) -> torch.Tensor:
    """Return the first `count` samples of a split as model inputs (count, ...) on the CPU."""
    return as_input(torch.from_numpy(np.array(split.inputs[:count])), preprocessing)


def joined(outputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """A single output as it is; several side by side along the last dimension where they differ in that alone, else
    flattened to (batch, values)."""
    if len(outputs) == 1:
        return outputs[0]
    side_by_side = outputs[0].dim() > 1 and len({output.shape[:-1] for output in outputs}) == 1
    return torch.cat(outputs if side_by_side else [output.flatten(1) for output in outputs], dim=-1)


def autocast(device: torch.device | str, precision: Precision) -> torch.autocast:
    """Return the context in which a forward pass runs in `precision`."""
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bf16-mixed")
