"""Cross-validation: what is held out is held out from everything that decides."""

from dataclasses import replace

import numpy as np
import pytest

from edgekd.data.split import Split
from edgekd.distillation import contest as contest_module
from edgekd.distillation import folds as folds_module
from edgekd.distillation.contest import open_cache
from edgekd.distillation.folds import cross_validate, divided
from edgekd.tasks.classification import CLASSIFICATION
from edgekd.tasks.regression import REGRESSION
from edgekd.training.data import TrainingData


def numbered(labels: np.ndarray, val: int, task=CLASSIFICATION) -> TrainingData:
    """Samples that are their own numbers, the last `val` of them for validation."""
    inputs = np.arange(len(labels), dtype=np.float32)[:, None]
    parts = [Split(inputs[:-val], labels[:-val]), Split(inputs[-val:], labels[-val:])]
    return TrainingData(parts[0], parts[1], None, task)


def numbers(split: Split) -> list[int]:
    return split.inputs[:, 0].astype(int).tolist()


CLASSES = np.repeat([0, 1, 2], [60, 30, 12])


@pytest.mark.parametrize("folds", [2, 3, 5])
@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (np.random.default_rng(0).permutation(CLASSES), CLASSIFICATION),
        (np.linspace(0, 1, 97, dtype=np.float32), REGRESSION),
        (np.zeros((41, 3), np.float32), REGRESSION),
        (np.arange(40) // 2, CLASSIFICATION),  # two samples a class: too few to spread
        (np.random.default_rng(0).permutation(np.repeat([0, 1], [49, 1])), CLASSIFICATION),
    ],
)
def test_folds_are_disjoint_and_cover_everything(labels, task, folds: int) -> None:
    data = numbered(labels, val=9, task=task)
    parts = list(divided(data, folds, seed=0))
    everything = list(range(len(labels)))
    assert len(parts) == folds
    assert sorted(number for _, held in parts for number in numbers(held)) == everything
    for rest, held in parts:
        assert sorted(numbers(rest.train) + numbers(rest.val) + numbers(held)) == everything
        assert len(rest.val) == pytest.approx(0.1 * (len(labels) - len(held)), abs=1)
        assert abs(len(held) - len(labels) / folds) <= folds
        for split in (rest.train, rest.val, held):
            assert np.array_equal(split.labels, labels[numbers(split)])
        assert rest.preprocessing is data.preprocessing and rest.task is task


def test_unlabelled_samples_are_trained_on_in_every_fold_and_held_out_of_none() -> None:
    data = numbered(np.random.default_rng(0).permutation(CLASSES), val=9)
    more = np.arange(1000, 1005, dtype=np.float32)[:, None]
    labels = np.concatenate([data.train.labels, data.val.labels])
    mixed = replace(data, train=Split(np.concatenate([data.train.inputs, more]), data.train.labels))
    for (rest, held), (plain, same) in zip(divided(mixed, 3, seed=0), divided(data, 3, seed=0), strict=True):
        assert numbers(rest.train) == [*numbers(plain.train), *range(1000, 1005)]
        assert numbers(held) == numbers(same) and numbers(rest.val) == numbers(plain.val)
        assert np.array_equal(rest.train.labels, labels[numbers(plain.train)])


def test_classes_are_spread_evenly() -> None:
    data = numbered(np.random.default_rng(1).permutation(CLASSES), val=10)
    for rest, held in divided(data, 3, seed=0):
        assert np.bincount(held.labels).tolist() == [20, 10, 4]
        # Of 40, 20 and 8 that are left, a tenth.
        assert np.abs(np.bincount(rest.val.labels, minlength=3) - [4, 2, 0.8]).max() <= 1


def test_folds_follow_from_the_seed() -> None:
    data = numbered(CLASSES, val=10)
    one, same, other = ([numbers(held) for _, held in divided(data, 3, seed=seed)] for seed in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize("cached", [False, True])
def test_no_sample_that_is_held_out_is_trained_or_chosen_on(contest, few, monkeypatch, tmp_path, cached) -> None:
    plan = contest.plan.model_copy(update={"steps": 12, "evaluate_every": 6})
    cache = open_cache(tmp_path / "cache", contest.teacher, few, plan) if cached else None
    real_train, real_outputs = contest_module.train, folds_module.outputs_on
    trained: list[tuple[str, TrainingData, object]] = []
    scored: list[Split] = []

    def train(module, *, phase, teacher, data, cache, **how):
        trained.append((phase, data, cache))
        return real_train(module, phase=phase, teacher=teacher, data=data, cache=cache, **how)

    def outputs_on(contest, entry, split):
        scored.append(split)
        return real_outputs(contest, entry, split)

    monkeypatch.setattr(contest_module, "train", train)
    monkeypatch.setattr(folds_module, "outputs_on", outputs_on)
    results = cross_validate(replace(contest, plan=plan, cache=cache), 2)
    phases = ["fold-0-student", "fold-0-control", "fold-1-student", "fold-1-control"]
    assert [phase for phase, _, _ in trained] == phases
    assert len(scored) == 4
    images = [split.inputs for split in (few.train, few.val)]
    known = {image.tobytes() for image in np.concatenate(images)}
    assert len(known) == 550  # no image twice, so that they tell themselves apart
    for (_, data, used), held in zip(trained, scored, strict=True):
        used_here = {image.tobytes() for split in (data.train, data.val) for image in split.inputs}
        held_here = {image.tobytes() for image in held.inputs}
        assert not used_here & held_here and used_here | held_here == known
        assert used is None
    assert [result.fold for result in results] == [0, 1]
    for result in results:
        assert result.gain.value == pytest.approx(result.student.value - result.control.value)
        assert result.gain.n == 275 and result.steps == 12
        assert result.teacher.value > 0.85 and result.seconds > 0
