"""Array files: what is read, and one sentence for each way they can be wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.data.npz import read_npz
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
    assert source.parts["test"].labels().tolist() == [0, 1]  # type: ignore[union-attr]


def test_grey_images_and_no_labels(save: Callable[..., str]) -> None:
    source = read_npz(save(x_train=X[..., 0], x_val=X[:2, ..., :1]))
    assert not source.labelled and source.parts["train"].labels() is None
    assert source.parts["train"].look(0) == (4, 4, 1)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"y_train": Y}, "no x_train"),
        ({"images": X}, "'images'.* but no x_train"),
        ({"x_train": X, "y_train": Y[:9]}, "9 labels for 10 images"),
        ({"x_train": X, "y_train": Y, "y_test": Y}, "y_test but no x_test: labels without images"),
        ({"x_train": X, "y_train": Y, "x_test": X}, "no y_test; give labels for every split"),
        ({"x_train": X, "y_train": Y.astype(float)}, "float64; labels are integer"),
        ({"x_train": X, "y_train": Y > 0}, "bool; labels are integer"),
        ({"x_train": X, "y_train": Y - 1}, r"y_train .*\[0\] is -1"),
        ({"x_train": X, "y_train": np.eye(10)[Y]}, r"shape \(10, 10\)"),
        ({"x_train": X / 255}, "float64 of shape"),
        ({"x_train": X.reshape(10, -1)}, r"of shape \(10, 48\); images are uint8"),
        ({"x_train": np.zeros((10, 3, 32, 32), np.uint8)}, "channels first"),
        ({"x_train": np.zeros((0, 4, 4, 3), np.uint8)}, "no pixels"),
        ({"x_train": X, "x_test": X[..., :1]}, "differ in channels"),
        ({"x_train": X, "classes": np.arange(3)}, "give a list of names"),
        ({"x_train": np.array([{"pickled": 1}], dtype=object)}, "object of shape"),
        ({"x_train": X, "y_train": np.array([None] * 10)}, "y_train .*cannot be read: Object arrays"),
    ],
)
def test_refused_in_one_sentence(save: Callable[..., str], arrays: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint) as caught:
        read_npz(save(**arrays))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_truncated_file(save: Callable[..., str], keep: int) -> None:
    path = Path(save(x_train=X, y_train=Y))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match=r"cannot be read as \.npz"):
        read_npz(str(path))
