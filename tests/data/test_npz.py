"""Array files: what is read, and one sentence for each way they can be wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.data.npz import read_npz
from edgekd.data.readers import label_form, open_source
from edgekd.errors import BadInput

X = np.arange(10 * 4 * 4 * 3, dtype=np.uint64).astype(np.uint8).reshape(10, 4, 4, 3)
Y = np.arange(10) % 3


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., str]:
    def write(**arrays: Any) -> str:
        np.savez(tmp_path / "data.npz", **arrays)
        return str(tmp_path / "data.npz")

    return write


def test_images_labels_and_names(save: Callable[..., str]) -> None:
    path = save(
        x_train=X, y_train=Y.astype(np.uint8), x_test=X[:2], y_test=Y[:2, None], classes=np.array(["a", "b", "c"])
    )
    source = read_npz(path)
    assert source.classes == ("a", "b", "c") and set(source.parts) == {"train", "test"}
    assert np.array_equal(source.parts["train"].fetch(7), X[7])
    labels = source.parts["train"].labels()
    assert labels is not None and labels.dtype == np.int64 and np.array_equal(labels, Y)
    assert open_source(path).parts["test"].labels().tolist() == [0, 1]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("labels", "task", "complaint"),
    [
        (Y - 1, None, r"train\[0\] is -1; classes are integer indices from 0 up"),
        (np.eye(10, dtype=int)[Y], None, r"shape \(10, 10\); class labels are one index per sample"),
        (Y / 1.0, "classification", "float32; classes are integer indices"),
        (Y.astype(np.int64) * 2**33, None, "cannot be a class index"),
    ],
)
def test_labels_that_are_no_classes(save: Callable[..., str], labels: Any, task: str | None, complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        open_source(save(x_train=X, y_train=labels), task=task).parts["train"].labels()


def test_the_task_says_what_labels_mean(save: Callable[..., str]) -> None:
    path = save(x_train=X, y_train=Y - 1)
    numbers = open_source(path, task="regression").parts["train"].labels()
    assert numbers is not None and numbers.dtype == np.float32 and np.array_equal(numbers, Y - 1)
    bare = open_source(path, task="generic")
    assert not bare.labelled and bare.parts["train"].labels() is None and "--task generic" in bare.notes[0]


def test_labels_of_another_form_in_one_split(save: Callable[..., str]) -> None:
    source = open_source(save(x_train=X, y_train=Y / 2, x_test=X[:4], y_test=np.ones((4, 2))))
    with pytest.raises(BadInput, match=r"train numbers of shape \(\), test numbers of shape \(2,\)"):
        label_form(source)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int8", "int32", "uint16"])
@pytest.mark.parametrize("shape", [(10, 5), (10, 4, 6), (10, 3, 8, 8), (10, 2, 3, 4, 5)])
def test_other_inputs_come_as_they_are(save: Callable[..., str], kind: str, shape: tuple[int, ...]) -> None:
    x = np.arange(np.prod(shape)).reshape(shape).astype(kind)
    source = read_npz(save(x_train=x, y_train=np.linspace(0, 1, 10)))
    found = source.parts["train"].fetch(7)
    assert found.dtype == (np.float32 if kind.startswith("float") else np.int64) and np.array_equal(found, x[7])
    assert source.parts["train"].look is None
    labels = source.parts["train"].labels()
    assert labels is not None and labels.dtype == np.float32 and labels[9] == 1


def test_grey_images_and_no_labels(save: Callable[..., str]) -> None:
    source = read_npz(save(x_train=X[..., 0], x_val=X[:2, ..., :1]))
    assert not source.labelled and source.parts["train"].labels() is None
    assert source.parts["train"].look(0) == (4, 4, 1)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"y_train": Y}, "no x_train"),
        ({"images": X}, "'images'.* but no x_train"),
        ({"x_train": X, "y_train": Y[:9]}, "9 labels for 10 samples"),
        ({"x_train": X, "y_train": Y, "y_test": Y}, "y_test but no x_test: labels without inputs"),
        ({"x_train": X, "y_train": Y, "x_test": X}, "no y_test; give labels for every split"),
        ({"x_train": X, "y_train": Y > 0}, "bool .*; labels are integer class indices, or floats"),
        ({"x_train": X, "y_train": np.where(Y == 1, np.nan, 0.5)}, r"\[1\] holds NaN, as do 2 others"),
        ({"x_train": X, "y_train": np.where(Y == 2, 1e300, 0.5)}, r"\[2\] holds infinity"),
        ({"x_train": X > 0}, "bool of shape"),
        ({"x_train": np.zeros(10)}, r"float64 of shape \(10,\); images are uint8"),
        ({"x_train": np.zeros((10, 3, 32, 32), np.uint8)}, "channels first"),
        ({"x_train": np.zeros((0, 4, 4, 3), np.uint8)}, "no values"),
        ({"x_train": X, "x_test": X[..., :1]}, "splits differ: x_train 3 channels, x_test 1 channels"),
        ({"x_train": X / 255, "x_test": X}, r"x_train floats \(n, 4, 4, 3\), x_test integers"),
        ({"x_train": X / 255, "x_test": X[:, 1:] / 255}, r"x_test floats \(n, 3, 4, 3\)"),
        ({"x_train": X, "classes": np.arange(3)}, "give a list of names"),
        ({"x_train": np.array([{"pickled": 1}], dtype=object)}, "object of shape"),
        ({"x_train": X, "y_train": np.array([None] * 10)}, "y_train .*cannot be read: Object arrays"),
    ],
)
def test_refused_in_one_sentence(save: Callable[..., str], arrays: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint) as caught:
        read_npz(save(**arrays))
    assert "\n" not in str(caught.value)


def test_only_names_in_lower_case_are_read(save: Callable[..., str]) -> None:
    source = read_npz(save(x_train=X, y_train=Y, x_Unlabelled=X[..., 0], X_test=X))
    assert source.unlabelled is None and set(source.parts) == {"train"}
    assert source.notes == ("arrays not read: 'X_test', 'x_Unlabelled'",)


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_truncated_file(save: Callable[..., str], keep: int) -> None:
    path = Path(save(x_train=X, y_train=Y))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match=r"cannot be read as \.npz"):
        read_npz(str(path))
