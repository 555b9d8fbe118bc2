"""Students that teach one another: each learns the labels, and what the others say at this moment."""

from collections.abc import Sequence

import torch

from edgekd.losses.logits import divergence
from edgekd.losses.tensors import matched_rows


def mutual(outputs: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the sum over students of the mean KL(softmax(other) || softmax(own)) over the others, a scalar.

    `outputs` are the logits (batch, classes) of two or more students; the other's side has no gradient. Zhang et al.
    2018, "Deep Mutual Learning", equations 5 and 9 (section 3.3), without the labels' cross-entropy, which is added per
    student.
    """
    total = torch.zeros((), device=outputs[0].device)
    for index, own in enumerate(outputs):
        others = [other for position, other in enumerate(outputs) if position != index]
        total = total + torch.stack([divergence(*matched_rows(own, other, "mutual")) for other in others]).mean()
    return total
