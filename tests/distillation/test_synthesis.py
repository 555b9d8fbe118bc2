"""Where data come from when none are given."""

import numpy as np
import pytest
from torch import nn

from edgekd.distillation.synthesis import settle_source, synthesise_data
from edgekd.errors import UsageError
from edgekd.formats.read import LoadedModel
from edgekd.progress import silent
from edgekd.recipe_file import make_recipe
from edgekd.tasks.classification import CLASSIFICATION
from edgekd.tasks.regression import REGRESSION


def settle(net: nn.Module, few, folder, *, task=CLASSIFICATION, **asked):
    model = LoadedModel(net, "pt2", "0" * 64, None, {}, (), True)
    return settle_source(folder, make_recipe(model="m", **asked), model, few.preprocessing, task, 10, silent)


def test_data_that_are_given_are_taken_and_nothing_is_made_unasked(teacher, few, tmp_path) -> None:
    assert settle(teacher, few, tmp_path, data="d.npz", student="auto", synthesise=64) == ("d.npz", ())
    for asked in ({}, {"student": "none"}, {"student": "auto", "synthesise": 0}):
        assert settle(teacher, few, tmp_path, **asked) == (None, ())
    assert not list(tmp_path.iterdir())


def test_what_is_made_is_unlabelled_data_of_the_teachers_inputs_and_is_said(teacher, few, tmp_path) -> None:
    path, notes = settle(teacher, few, tmp_path, synthesise=60)
    with np.load(str(path)) as made:
        assert set(made.files) == {"x_train"}
        assert made["x_train"].shape == (60, 8, 8, 1) and made["x_train"].dtype == np.uint8
        assert len(np.unique(made["x_train"].reshape(60, -1), axis=0)) == 60
    assert len(notes) == 1 and "60 inputs were synthesised" in notes[0] and "little about real ones" in notes[0]


def test_a_student_cannot_be_trained_on_what_cannot_be_made(few, tmp_path) -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(UsageError, match="no batch normalisation"):
        settle(plain, few, tmp_path, student="auto")
    with pytest.raises(UsageError, match="classifiers only"):
        settle(plain, few, tmp_path, student="auto", task=REGRESSION)


def test_batches_that_are_there_are_not_made_again(teacher, few, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("edgekd.distillation.synthesis.BATCH", 20)

    def make(folder, listen=silent):
        how = {"preprocessing": few.preprocessing, "outputs": 10, "count": 60, "seed": 1, "listen": listen}
        return np.load(synthesise_data(folder, teacher, **how))["x_train"]

    def cut(tick) -> None:
        if tick.done == 50:  # 40 steps a batch: in the second
            raise KeyboardInterrupt

    whole = make(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "cut", cut)
    done: list[int] = []
    assert np.array_equal(make(tmp_path / "cut", lambda tick: done.append(tick.done)), whole)
    assert min(done) == 41 and max(done) == 120
