"""Cross-validation: student and control trained on all but one part of the data, and scored on that part."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split

from edgekd.data.split import Split
from edgekd.distillation.contest import Contest, enter
from edgekd.distillation.seeds import HERE, outputs_on
from edgekd.judgement import FoldResult
from edgekd.tasks.intervals import paired_difference, score_number
from edgekd.training.data import TrainingData
from edgekd.training.evaluate import predict_outputs

VALIDATION_SHARE = 0.1
"""Of each fold's training samples, those by which the weights to keep are chosen; the fold itself decides nothing."""


def cross_validate(contest: Contest, folds: int) -> tuple[FoldResult, ...]:
    """Train and score the contest's student and control once for each of `folds` parts of train and validation.

    The teacher is as it came: it may have been trained on all of them.
    """
    task, results = contest.data.task, []
    for fold, (data, held_out) in enumerate(divided(contest.data, folds, seed=contest.plan.seed)):
        student = enter(contest, f"fold-{fold}-student", taught=True, data=data)
        control = enter(contest, f"fold-{fold}-control", taught=False, data=data)
        teacher = predict_outputs(contest.teacher, held_out, data.preprocessing, every_output=task.every_output)
        said = (teacher, outputs_on(contest, student, held_out), outputs_on(contest, control, held_out))
        assert held_out.labels is not None
        taught, ours, theirs = (task.statistics(outputs, held_out.labels) for outputs in said)
        results.append(
            FoldResult(
                fold=fold,
                teacher=score_number(task, taught, HERE),
                control=score_number(task, theirs, HERE),
                student=score_number(task, ours, HERE),
                gain=paired_difference(task, ours, theirs),
                steps=student.trained.steps,
                seconds=student.trained.seconds + control.trained.seconds,
            )
        )
    return tuple(results)


def divided(data: TrainingData, folds: int, *, seed: int) -> Iterator[tuple[TrainingData, Split]]:
    """Yield, for each fold, what to train on with its own validation samples, and the part that is held out.

    The parts are disjoint and cover what has labels in train and validation together; classes are spread evenly over
    them. Unlabelled samples are trained on in every fold.
    """
    known = data.train.labelled_part()
    assert known.labels is not None and data.val.labels is not None
    inputs = np.concatenate([known.inputs, data.val.inputs, data.train.inputs[len(known) :]])
    labels = np.concatenate([known.labels, data.val.labels])
    unlabelled = np.arange(len(labels), len(inputs))
    strata = _strata(labels, folds)
    kind = KFold if strata is None else StratifiedKFold
    for rest, held_out in kind(folds, shuffle=True, random_state=seed).split(labels, strata):
        train, val = train_test_split(
            rest,
            test_size=max(VALIDATION_SHARE, 1 / len(rest)),
            random_state=seed,
            stratify=None if strata is None else _strata(labels[rest], 2, share=VALIDATION_SHARE),
        )
        taught = Split(inputs[np.concatenate([np.sort(train), unlabelled])], labels[np.sort(train)])
        parts = [Split(inputs[np.sort(part)], labels[np.sort(part)]) for part in (val, held_out)]
        yield TrainingData(taught, parts[0], data.preprocessing, data.task), parts[1]


def _strata(labels: npt.NDArray[Any], fewest: int, share: float = 1.0) -> npt.NDArray[Any] | None:
    """Classes to spread evenly, where each has `fewest` samples and a part as small as `share` can hold them all."""
    if labels.dtype.kind != "i" or labels.ndim != 1:
        return None
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    return labels if counts.min() >= fewest and share * len(labels) >= len(counts) else None
