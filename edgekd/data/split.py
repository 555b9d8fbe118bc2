"""One split of a data set in memory: what every reader ends in and every stage consumes."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.data.source import Labels, SplitName
from edgekd.errors import BadInput


@dataclass(frozen=True)
class Split:
    """Inputs with or without labels.

    inputs: images uint8 (n, height, width, channels) already resized to the model's input size, or ready-made inputs
        float32 or int64 (n, ...); possibly memory-mapped.
    labels: class indices int64 (n,), numbers to predict float32 (n, ...) shaped as the model's outputs, boxes float32
        (n, objects, classes + 4) in pixels of the input, or None where the data are unlabelled. Of train there may be
        fewer labels than inputs: the samples after the last label are unlabelled. Val and test are labelled throughout.
    """

    inputs: npt.NDArray[Any]
    labels: Labels | None

    def __len__(self) -> int:
        return int(self.inputs.shape[0])

    def labelled_part(self) -> "Split":
        """The samples that have a label; all of them where there are no labels."""
        return self if self.labels is None else Split(self.inputs[: len(self.labels)], self.labels)


def open_split(folder: Path, name: SplitName) -> Split:
    """Open what `materialise` wrote, memory-mapped and read-only. Raises BadInput where a file is missing or broken."""
    labels_path = folder / f"{name}_labels.npy"
    try:
        inputs = np.load(folder / f"{name}_inputs.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(labels_path, allow_pickle=False) if os.path.lexists(labels_path) else None
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(f"{name} split in {str(folder)!r} cannot be read: {error}; prepare the data again") from error
    return Split(inputs, labels)
