"""A teacher that knows ten digits learns to tell five of them under other numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.data.split import Split
from edgekd.distillation.adaption import adapt_teacher, classes_to_learn, with_adapted_weights
from edgekd.errors import UsageError
from edgekd.formats.read import LoadedModel
from edgekd.progress import silent
from edgekd.recipe_file import make_recipe
from edgekd.tasks.task import score_of
from edgekd.training.evaluate import predict_outputs


def loaded(net: nn.Module, *, trainable: bool = True) -> LoadedModel:
    return LoadedModel(net, "pt2" if trainable else "onnx", "0" * 64, None, {}, (), trainable)


def half(split: Split) -> Split:
    keep = split.labels >= 5
    return Split(split.inputs[keep], split.labels[keep] - 5)


def test_it_is_adapted_kept_and_found_again(teacher, digits, tmp_path) -> None:
    data = replace(digits, train=half(digits.train), val=half(digits.val))
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    plan = make_recipe(model="m", adapt_teacher=20, batch_size=32, accelerator="cpu")
    adapted = adapt_teacher(tmp_path, loaded(teacher), data, plan, classes=5, listen=silent)
    said = predict_outputs(adapted.module, data.val, data.preprocessing)
    assert said.shape[1] == 5 and score_of(data.task, said, data.val.labels) > 0.85
    assert "was replaced" in adapted.notes[-1]
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    again = with_adapted_weights(loaded(teacher), tmp_path, data.preprocessing, classes=5)
    assert np.array_equal(predict_outputs(again.module, data.val, data.preprocessing), said)


@pytest.mark.parametrize(
    ("trainable", "facts", "said"), [(False, None, "can only be run"), (True, None, "class labels")]
)
def test_what_cannot_be_adapted_is_said(teacher, trainable, facts, said) -> None:
    with pytest.raises(UsageError, match=said):
        classes_to_learn(make_recipe(model="m"), loaded(teacher, trainable=trainable), facts)
