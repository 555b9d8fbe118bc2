"""Students of reduced inputs: fronts of their own, fitted to the training split where they need that."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from edgekd.errors import UsageError
from edgekd.fronts.fronted import Fronts, parted
from edgekd.fronts.place import Place
from edgekd.fronts.table import build_fronts, parse_front, shape_behind
from edgekd.recipe import Recipe
from edgekd.training.data import TrainingData
from edgekd.training.views import as_input

BATCH = 1024


def student_front(plan: Recipe, teacher: nn.Module, data: TrainingData) -> Fronts | None:
    """Build what --student-input asks for, behind the teacher's own front; None where it asks for nothing.

    Raises:
        UsageError: a front is unknown, or does not take such inputs.
        BadInput: the training inputs are of no use for fitting it.
    """
    if not plan.student_input:
        return None
    if data.preprocessing.dtype == "int64":
        raise UsageError("--student-input reduces numbers, and the inputs are whole numbers that stand for something")
    theirs, _ = parted(teacher)
    before = theirs if theirs is not None else nn.Identity()

    @torch.no_grad()
    def train() -> Iterator[torch.Tensor]:
        for start in range(0, len(data.train), BATCH):
            samples = torch.from_numpy(np.array(data.train.inputs[start : start + BATCH]))
            yield before(as_input(samples, data.preprocessing))

    how = data.preprocessing
    place = Place(shape_behind(before, how.shape), how.sample_rate, train)
    return build_fronts([parse_front(text) for text in plan.student_input], place)
