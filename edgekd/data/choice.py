"""Which samples make up each split, in which order, and their labels in the form of the model's outputs."""

from dataclasses import dataclass

import numpy as np

from edgekd.data.boxes import in_pixels
from edgekd.data.decode import Chosen
from edgekd.data.divide import divide
from edgekd.data.source import SPLIT_NAMES, Labels, Source, SplitName
from edgekd.preprocessing import Preprocessing

SHUFFLE_SALT, UNLABELLED_SALT = 1, 2


@dataclass(frozen=True)
class Choice:
    """The samples of each split and where it came from; `unlabelled` are those that follow the labelled ones of
    train."""

    splits: dict[SplitName, Chosen]
    origin: dict[SplitName, str]
    unlabelled: Chosen | None

    @property
    def further(self) -> int:
        """How many samples have no label although the others have."""
        return 0 if self.unlabelled is None else len(self.unlabelled.indices)

    @property
    def count(self) -> int:
        """Of all samples, before any is skipped or removed."""
        return sum(len(chosen.indices) for chosen in self.splits.values()) + self.further


def choose(source: Source, seed: int, target_shape: tuple[int, ...] | None, how: Preprocessing) -> Choice:
    """Take splits as given, and those that are missing out of train, which is shuffled; unlabelled samples apart."""
    missing = tuple(name for name in SPLIT_NAMES if name not in source.parts)
    origin: dict[SplitName, str] = {
        name: f"10 % of train, seed {seed}" if name in missing else "as given" for name in SPLIT_NAMES
    }
    if missing:
        origin["train"] = f"what {' and '.join(missing)} left of train"
    train = source.parts["train"]
    labels = {name: part.labels() for name, part in source.parts.items()}
    if source.boxes:
        labels = {name: in_pixels(boxes, how) for name, boxes in labels.items()}
    else:
        labels = {name: _shaped(numbers, target_shape) for name, numbers in labels.items()}
    taken = divide(labels["train"], train.count, missing, seed)
    taken["train"] = np.random.default_rng([seed, SHUFFLE_SALT]).permutation(taken["train"])
    splits: dict[SplitName, Chosen] = {}
    for name in SPLIT_NAMES:
        origin_part = name if name in source.parts else "train"
        part, own = source.parts[origin_part], labels[origin_part]
        indices = taken[name] if name in taken else np.arange(part.count)
        splits[name] = Chosen(part, indices, None if own is None else own[indices])
    return Choice(splits, origin, _unlabelled(source, seed))


def _unlabelled(source: Source, seed: int) -> Chosen | None:
    part = source.unlabelled
    if part is None:
        return None
    order = np.random.default_rng([seed, UNLABELLED_SALT]).permutation(part.count)
    return Chosen(part, order, None)


def _shaped(labels: Labels | None, shape: tuple[int, ...] | None) -> Labels | None:
    """Numbers brought to the outputs' shape: (n,) to (n, 1), as a loss would otherwise hold all against all."""
    if labels is None or shape is None or labels.dtype.kind != "f":
        return labels
    return labels.reshape(len(labels), *shape)
