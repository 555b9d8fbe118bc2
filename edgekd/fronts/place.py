"""Where a front stands: what arrives there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Place:
    """What a front is built from.

    shape: of one input as it arrives.
    sample_rate: of waveforms, in Hz.
    train: gives the training inputs as they arrive, (batch, *shape) at a time, to a front that is fitted to them; None
        where a front is built again only to load its buffers.
    """

    shape: tuple[int, ...]
    sample_rate: int | None = None
    train: Callable[[], Iterator[Tensor]] | None = None
