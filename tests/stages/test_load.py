"""What the first stage makes of class names, of outputs that are no classifier's, and of teachers that look broken."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.data.split import open_split
from edgekd.errors import BadInput, UsageError
from edgekd.progress import silent
from edgekd.recipe_file import make_recipe
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


@pytest.fixture
def mixed_npz(stripes_npz, tmp_path) -> Path:
    """Of the 240 training images, every second one without its label."""
    with np.load(stripes_npz) as data:
        whole = dict(data)
    x, y = whole.pop("x_train"), whole.pop("y_train")
    np.savez(tmp_path / "mixed.npz", x_train=x[::2], y_train=y[::2], x_unlabelled=x[1::2], **whole)
    return tmp_path / "mixed.npz"


def test_unlabelled_samples_beside_labelled_ones_are_kept_for_training(trained_cnn, stripes_npz, mixed_npz, tmp_path):
    model = saved(trained_cnn, tmp_path / "model.pt2")
    plain = loaded(model, stripes_npz, tmp_path / "plain")
    mixed = loaded(model, mixed_npz, tmp_path / "mixed")
    assert mixed.labelled and mixed.manifest.unlabelled == 120 and mixed.manifest.counts["train"] == 228
    assert mixed.teacher.score == plain.teacher.score and mixed.classes == plain.classes
    assert any("120 of 228 training samples are unlabelled" in note for note in mixed.notes)


def test_a_teacher_is_adapted_to_what_is_labelled(trained_cnn, mixed_npz, tmp_path):
    model = saved(reordered(trained_cnn, [2, 0, 1]), tmp_path / "model.pt2")
    adapted = loaded(model, mixed_npz, tmp_path / "run", adapt_teacher=8, batch_size=16, accelerator="cpu")
    assert adapted.manifest.unlabelled == 120 and adapted.teacher.score.value > 0.8


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
    assert any("100.0 % of the unlabelled samples into class 2" in note for note in found.notes)
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
    with pytest.raises(BadInput, match=r"not finite on \d of \d+ val samples"):
        loaded(model, tmp_path / "white.npz", tmp_path / "run")


TOKENS, VOCABULARY = 12, 30


class Counts(nn.Module):
    """Token ids (batch, 12) to how often each of the first `outputs` ids occurs, which is exactly what is asked for."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(torch.eye(VOCABULARY)[:, :outputs].contiguous(), freeze=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table(ids).sum(1)


def counting(outputs: int, path: Path) -> Path:
    batch = ({0: torch.export.Dim("batch")},)
    example = torch.zeros(2, TOKENS, dtype=torch.int64)
    torch.export.save(torch.export.export(Counts(outputs).eval(), (example,), dynamic_shapes=batch), path)
    return path


def texts(path: Path, label, count: int = 200) -> Path:
    ids = np.random.default_rng(0).integers(0, VOCABULARY, (count, TOKENS))
    np.savez(path, x_train=ids, **({} if label is None else {"y_train": label(ids)}))
    return path


def read(model: Path, data: Path | None, folder: Path, **options: object):
    return load(folder, plan=make_recipe(model=str(model), data=data and str(data), **options), listen=silent)


def test_token_ids_with_classes(tmp_path):
    data = texts(tmp_path / "d.npz", lambda ids: np.stack([(ids == k).sum(1) for k in range(5)]).argmax(0))
    found = read(counting(5, tmp_path / "m.pt2"), data, tmp_path / "run")
    assert (found.task, found.score_name, found.outputs, found.labelled) == ("classification", "accuracy", 5, True)
    assert found.teacher.score.value == 1 and found.classes == tuple("01234")
    assert (found.preprocessing.shape, found.preprocessing.dtype) == ((TOKENS,), "int64")
    assert found.manifest.dtype == "int64" and found.manifest.shape == (TOKENS,)


def test_token_ids_with_numbers(tmp_path):
    model = counting(1, tmp_path / "m.pt2")
    found = read(model, texts(tmp_path / "d.npz", lambda ids: (ids == 0).sum(1) + 0.5), tmp_path / "run")
    assert (found.task, found.score_name, found.outputs, found.classes) == ("regression", "R2", 1, None)
    labels = open_split(tmp_path / "run" / "data", "test").labels
    said = np.load(tmp_path / "run" / "teacher_test_outputs.npy")
    assert labels.shape == said.shape == (20, 1) and np.allclose(labels, said + 0.5)
    assert found.teacher.metrics["mae"] == pytest.approx(0.5)
    assert found.teacher.score.value == pytest.approx(1 - 0.25 / labels.astype(float).var())


def test_whole_numbers_to_predict_want_the_task_by_name(tmp_path):
    model, data = counting(1, tmp_path / "m.pt2"), texts(tmp_path / "d.npz", lambda ids: (ids == 0).sum(1))
    with pytest.raises(BadInput, match=r"has 1 output; .* where labels are numbers, store them as floats"):
        read(model, data, tmp_path / "refused")
    assert read(model, data, tmp_path / "run", task="regression").teacher.score.value == 1


def test_without_labels_outputs_tell_the_task(tmp_path):
    data = texts(tmp_path / "d.npz", None)
    many, one = (read(counting(n, tmp_path / f"{n}.pt2"), data, tmp_path / f"{n}") for n in (5, 1))
    assert (many.task, many.score_name, many.labelled) == ("classification", "agreement", False)
    assert (one.task, one.score_name) == ("generic", "fidelity")
    bare = read(counting(5, tmp_path / "5.pt2"), None, tmp_path / "bare")
    assert (bare.task, bare.score_name, bare.preprocessing.dtype) == ("classification", None, "int64")


def test_a_regression_teacher_no_better_than_the_mean_stops_the_run(tmp_path):
    data = texts(tmp_path / "d.npz", lambda ids: -(ids == 0).sum(1) / 1.0)
    with pytest.raises(BadInput, match="R2 is 0 or less: it predicts no better than the mean of the labels"):
        read(counting(1, tmp_path / "m.pt2"), data, tmp_path / "run")


@pytest.mark.parametrize(
    ("outputs", "labels", "complaint"),
    [
        (
            1,
            lambda ids: np.ones((len(ids), 2)),
            r"outputs of shape \(1,\) per sample, but a label has the shape \(2,\)",
        ),
        (5, lambda ids: ids[:, 0], "label 29 but the model has 5 outputs"),
    ],
)
def test_labels_that_do_not_fit_the_outputs(tmp_path, outputs, labels, complaint):
    with pytest.raises(BadInput, match=complaint):
        read(counting(outputs, tmp_path / "m.pt2"), texts(tmp_path / "d.npz", labels), tmp_path / "run")


def test_token_ids_beyond_the_vocabulary(tmp_path):
    np.savez(tmp_path / "d.npz", x_train=np.random.default_rng(0).integers(0, 99, (200, TOKENS)))
    with pytest.raises(BadInput, match=r"fails on the val inputs: index out of range .*within its vocabulary"):
        read(counting(5, tmp_path / "m.pt2"), tmp_path / "d.npz", tmp_path / "run")


def test_an_unknown_task_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(UsageError, match="there is no task 'classify'; did you mean 'classification'"):
        read(counting(5, tmp_path / "m.pt2"), texts(tmp_path / "d.npz", None), tmp_path / "run", task="classify")
    assert not (tmp_path / "run" / "data").exists()
