"""What a model returns, as a tuple of tensors whose first dimension is the batch."""

from collections.abc import Mapping

import torch

from edgekd.errors import BadInput

FAILURES = (RuntimeError, ValueError, TypeError, IndexError, AssertionError)
"""What modules raise on inputs that they do not take."""


def outputs_of(returned: object, batch: int) -> tuple[torch.Tensor, ...]:
    """Return a model's tensors in order, each (batch, ...). Raises BadInput where it returns anything else.

    Tuples, lists, and mappings (as Hugging Face's models return) may be nested; None in them is left out.
    """
    tensors = tuple(_flat(returned))
    if not tensors:
        raise BadInput("the model returns no tensor")
    for at, tensor in enumerate(tensors):
        if tensor.dim() == 0 or tensor.shape[0] != batch:
            raise BadInput(
                f"the model's output {at} has shape {tuple(tensor.shape)} for {batch} samples; its first dimension "
                "must be the batch"
            )
    return tensors


def _flat(returned: object) -> list[torch.Tensor]:
    if returned is None:
        return []
    if isinstance(returned, torch.Tensor):
        return [returned]
    parts = list(returned.values()) if isinstance(returned, Mapping) else returned
    if isinstance(parts, (list, tuple)):
        return [tensor for part in parts for tensor in _flat(part)]
    raise BadInput(f"the model returns {type(returned).__name__}, not a tensor (batch, ...)")
