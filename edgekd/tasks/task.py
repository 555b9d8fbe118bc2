"""What a task is: how outputs are scored against the truth, and what they are trained with. Numpy only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Outputs = npt.NDArray[np.floating[Any]]
Truth = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Task:
    """How predictions of one kind are scored and learned. Outputs are float32 (n, ...), the truth is (n, ...).

    Where there are no labels, the truth is the teacher's word: what `truth_of` makes of its outputs.

    score_name, fidelity_name: what the score is called against labels, and against the teacher's word.
    label_loss, distill_loss: names in the tables of losses; the second is what is used where no other is asked for.
    output, further_outputs: what the only, or the first, output of an exported graph is called, and the others where
        the task says what they are.
    truth_of: outputs to the truth that a student is held against.
    statistics: (outputs, truth) to one row per sample, (n, k), of whose mean the score is a function; this makes any
        interval a bootstrap over rows.
    score: mean statistics (..., k) to the score (...), 0..1, higher is better.
    metrics: (outputs, truth) to raw metrics by name.
    chance: (truth, number of outputs) to the score of guessing without a look at the input.
    near_chance: (score, truth, number of outputs) to a complaint where a teacher is no better than that, or None.
    doubt: outputs to what makes them suspicious, where there are no labels to tell; or None.
    check: (shape (batch, ...) of outputs, labels (n, ...) or None) raises BadInput where they do not fit.
    check_outputs: (shape of each output for one sample) raises BadInput where a model has not the outputs it must.
    mirrored: (truth, width) to the truth of images that are flipped left to right; None where a flip changes nothing.
    per_class: (outputs, truth) to a share per class (classes,); None where there are no classes.
    per_class_name: what that share is.
    mistakes: (outputs, truth) to rows of truth, answer and how often, (pairs, 3), the most frequent first; None where
        an answer is no class.
    every_output: whether all outputs of a model are scored, joined to one, or the first alone.
    """

    name: str
    score_name: str
    fidelity_name: str
    label_loss: str
    distill_loss: str
    output: str
    truth_of: Callable[[Outputs], Truth]
    statistics: Callable[[Outputs, Truth], Floats]
    score: Callable[[Floats], Floats]
    metrics: Callable[[Outputs, Truth], dict[str, float]]
    chance: Callable[[Truth, int], float]
    near_chance: Callable[[float, Truth, int], str | None]
    doubt: Callable[[Outputs], str | None]
    check: Callable[[tuple[int, ...], Truth | None], None]
    check_outputs: Callable[[tuple[tuple[int, ...], ...]], None] = lambda shapes: None
    mirrored: Callable[[Truth, int], Truth] | None = None
    per_class: Callable[[Outputs, Truth], Floats] | None = None
    per_class_name: str = "recall"
    mistakes: Callable[[Outputs, Truth], npt.NDArray[np.int64]] | None = None
    further_outputs: tuple[str, ...] = ()
    every_output: bool = False


def score_of(task: Task, outputs: Outputs, truth: Truth) -> float:
    """The score of outputs (n, ...) against the truth (n, ...), 0..1."""
    return float(task.score(task.statistics(outputs, truth).mean(axis=0)))
