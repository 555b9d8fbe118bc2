"""What the first stage makes of class names, of outputs that are no classifier's, and of teachers that look broken."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.data.materialise import open_split
from edgekd.errors import BadInput
from edgekd.progress import silent
from edgekd.recipe import make_recipe
from edgekd.stages.load import load

HEIGHT, WIDTH = 24, 32
HALF = "0.5,0.5,0.5"


def saved(module: nn.Module, path: Path, **extras: object) -> Path:
    files = {f"{name}.json": json.dumps(value) for name, value in extras.items()}
    program = torch.export.export(module.eval(), (torch.zeros(1, 3, HEIGHT, WIDTH),))
    torch.export.save(program, path, extra_files=files)
    return path


def reordered(module: nn.Module, order: list[int]) -> nn.Module:
    """The same classifier with its outputs in another order."""
    other = copy.deepcopy(module)
    with torch.no_grad():
        other[-1].weight.copy_(module[-1].weight[order])
        other[-1].bias.copy_(module[-1].bias[order])
    return other


def loaded(model: Path, data: Path, folder: Path, **options: object):
    plan = make_recipe(model=str(model), data=str(data), mean=HALF, std=HALF, **options)
    return load(folder, plan=plan, listen=silent)


def test_class_names_in_the_model_file_are_the_order_of_the_labels(trained_cnn, stripes_npz, tmp_path):
    names = ["vertical", "diagonal", "horizontal"]  # the data have them sorted
    model = saved(reordered(trained_cnn, [2, 0, 1]), tmp_path / "other.pt2", labels=names)
    plain = loaded(saved(trained_cnn, tmp_path / "plain.pt2"), stripes_npz, tmp_path / "plain")
    other = loaded(model, stripes_npz, tmp_path / "other")
    assert other.classes == tuple(names)
    assert other.teacher.score.value == plain.teacher.score.value > 0.8
    labels = {at: open_split(tmp_path / at / "data", "test").labels for at in ("plain", "other")}
    assert np.array_equal(np.array([1, 2, 0])[labels["plain"]], labels["other"])
    assert any("labels follow the class names in the model file" in note for note in other.notes)


def test_class_names_that_are_not_the_datas_are_refused_unless_given(trained_cnn, stripes_npz, tmp_path):
    model = saved(trained_cnn, tmp_path / "model.pt2", labels=["diagonal", "flat", "vertical"])
    with pytest.raises(BadInput, match="'flat' only in the model and 'horizontal' only in the data"):
        loaded(model, stripes_npz, tmp_path / "refused")
    (tmp_path / "classes.txt").write_text("diagonal\nhorizontal\nvertical\n")
    given = loaded(model, stripes_npz, tmp_path / "given", classes=str(tmp_path / "classes.txt"))
    assert given.classes == ("diagonal", "horizontal", "vertical")


def test_a_model_of_one_output_is_refused(stripes_npz, tmp_path):
    model = saved(nn.Sequential(nn.Flatten(), nn.Linear(3 * HEIGHT * WIDTH, 1)), tmp_path / "one.pt2")
    with pytest.raises(BadInput, match="has 1 output; a classifier has one for each class"):
        loaded(model, stripes_npz, tmp_path / "run")


@pytest.fixture
def bare_npz(stripes_npz, tmp_path) -> Path:
    with np.load(stripes_npz) as data:
        np.savez(tmp_path / "bare.npz", x_train=data["x_train"], x_test=data["x_test"])
    return tmp_path / "bare.npz"


def test_without_labels_a_teacher_of_one_answer_is_suspected(trained_cnn, bare_npz, tmp_path):
    stuck = copy.deepcopy(trained_cnn)
    with torch.no_grad():
        stuck[-1].bias[2] += 1000
    found = loaded(saved(stuck, tmp_path / "stuck.pt2"), bare_npz, tmp_path / "stuck")
    assert any("100.0 % of the unlabelled images into class 2" in note for note in found.notes)
    sound = loaded(saved(trained_cnn, tmp_path / "sound.pt2"), bare_npz, tmp_path / "sound")
    assert not any("into class" in note for note in sound.notes)


class FailsOnWhite(nn.Module):
    """Logits that are no numbers where an image is nearly white."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head((0.9 - images.mean((1, 2, 3))).sqrt()[:, None])


def test_logits_that_are_no_numbers_are_found_on_validation_too(bare_npz, tmp_path):
    with np.load(bare_npz) as data:
        white = np.full((20, HEIGHT, WIDTH, 3), 255, np.uint8)
        white[:16] = data["x_train"][:16]
        np.savez(tmp_path / "white.npz", x_train=data["x_train"], x_test=data["x_test"], x_val=white)
    model = saved(FailsOnWhite(), tmp_path / "fails.pt2")
    with pytest.raises(BadInput, match=r"not finite on \d of \d+ val images"):
        loaded(model, tmp_path / "white.npz", tmp_path / "run")
