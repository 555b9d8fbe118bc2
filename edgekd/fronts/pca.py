"""Fewer numbers: the principal components of the training inputs."""

import logging
from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from edgekd.errors import BadInput, UsageError
from edgekd.fronts.place import Place

log = logging.getLogger(__name__)

MOST_FEATURES = 4096
"""Their covariance then takes 128 MiB in float64, and its eigenvectors some seconds."""


class Pca(nn.Module):
    """(batch, features) to (batch, count): (x - mean) @ components.T, with both as fitted buffers."""

    components: Tensor
    offset: Tensor

    def __init__(self, components: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.register_buffer("components", components)
        self.register_buffer("offset", offset)

    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.linear(inputs, self.components, self.offset)

    def extra_repr(self) -> str:
        return f"{self.components.shape[1]} to {self.components.shape[0]}"


def pca(place: Place, count: Annotated[int, Field(ge=1)]) -> Pca:
    """Build the front for tables (features,), fitted to the training inputs in float64, a batch in memory at a time.

    Raises UsageError where the inputs are no rows of so many numbers, and BadInput where they do not vary.
    """
    if len(place.shape) != 1 or not count <= place.shape[0] <= MOST_FEATURES:
        raise UsageError(
            f"pca={count} takes rows of {count} to {MOST_FEATURES} numbers, and the inputs are "
            f"{'x'.join(map(str, place.shape))}"
        )
    if place.train is None:
        return Pca(torch.zeros(count, place.shape[0]), torch.zeros(count))
    mean, covariance = _moments(place.train())
    variances, vectors = torch.linalg.eigh(covariance)
    total = variances.clamp(min=0).sum()
    if not total > 0:
        raise BadInput("pca needs training inputs that differ, and all of them are the same")
    components = vectors.flip(1).T[:count]
    # The sign of a component is free: its largest number is made positive, so that every machine finds the same.
    largest = components.abs().argmax(dim=1, keepdim=True)
    components = components * components.gather(1, largest).sign()
    share = 100 * variances[-count:].sum() / total
    log.info("pca: %d of %d components hold %.2f %% of the training inputs' variance", count, len(mean), share)
    return Pca(components.float(), -(components @ mean).float())


def _moments(batches: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean (features,) and covariance (features, features), float64; shifted by the first row against cancellation."""
    first: Tensor | None = None
    count, total, products = 0, torch.zeros(()), torch.zeros(())
    for batch in batches:
        rows = batch.double()
        first = rows[0] if first is None else first
        rows = rows - first
        count, total, products = count + len(rows), total + rows.sum(0), products + rows.T @ rows
    if first is None:
        raise BadInput("pca needs training inputs, and there are none")
    shift = total / count
    return first + shift, products / count - torch.outer(shift, shift)
