"""Unlabelled samples beside labelled ones: they follow in train, and every labelled row keeps its own label."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgekd.data.materialise import DataManifest, materialise
from edgekd.data.peek import peek
from edgekd.data.readers import open_source
from edgekd.data.split import Split, open_split
from edgekd.errors import BadInput
from edgekd.preprocessing import Preprocessing
from edgekd.progress import Tick

FOUR = Preprocessing(height=4, width=4, channels=3, mean=(0, 0, 0), std=(1, 1, 1))
CLASSES, LABELLED, UNLABELLED = 5, 600, 400
"""More than a chunk of the decoder's, of each."""


def images(values: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Images (n, 4, 4, 3) from which `values_of` tells the number again."""
    pixels = np.stack([values % 256, values // 256, 0 * values], axis=1).astype(np.uint8)
    return np.tile(pixels[:, None, None], (1, 4, 4, 1))


def values_of(split: Split) -> npt.NDArray[np.int64]:
    pixels = split.inputs[:, 0, 0].astype(np.int64)
    return np.asarray(pixels[:, 0] + 256 * pixels[:, 1])


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., str]:
    """An .npz file of numbered images whose class is the number's remainder, changed by the arrays that are given."""

    def write(**changed: Any) -> str:
        own, more = np.arange(LABELLED), np.arange(1000, 1000 + UNLABELLED)
        arrays = {"x_train": images(own), "y_train": own % CLASSES, "x_unlabelled": images(more), **changed}
        np.savez(tmp_path / "data.npz", **{name: array for name, array in arrays.items() if array is not None})
        return str(tmp_path / "data.npz")

    return write


def prepared(source: str, folder: Path, how: Preprocessing = FOUR, **options: Any) -> tuple[DataManifest, Split]:
    return materialise(source, folder, how, **options), open_split(folder, "train")


def test_labelled_rows_keep_their_labels_and_come_first(save: Callable[..., str], tmp_path: Path) -> None:
    ticks: list[Tick] = []
    manifest, train = prepared(save(), tmp_path / "out", progress=ticks.append)
    assert ticks[-1].done == ticks[-1].total == LABELLED + UNLABELLED
    assert manifest.counts == {"train": 880, "val": 60, "test": 60} and manifest.unlabelled == UNLABELLED
    note = (
        "400 of 880 training samples are unlabelled: the teacher alone teaches on them, and the control makes its "
        "steps without them"
    )
    assert note in manifest.notes
    values = values_of(train)
    assert train.labels is not None and len(train.labels) == 480 and len(train) == 880
    assert np.array_equal(values[:480] % CLASSES, train.labels) and values[:480].max() < LABELLED
    assert sorted(values[480:].tolist()) == list(range(1000, 1400))
    for name in ("val", "test"):
        held_out = open_split(tmp_path / "out", name)  # type: ignore[arg-type]
        assert held_out.labels is not None and np.array_equal(values_of(held_out) % CLASSES, held_out.labels)


def test_unlabelled_samples_are_shuffled_by_the_seed(save: Callable[..., str], tmp_path: Path) -> None:
    orders = [values_of(prepared(save(), tmp_path / str(at), seed=seed)[1])[480:] for at, seed in enumerate((0, 0, 1))]
    assert np.array_equal(orders[0], orders[1]) and not np.array_equal(orders[0], orders[2])
    assert not np.array_equal(orders[0], np.sort(orders[0]))


def test_unlabelled_samples_change_no_labelled_one(save: Callable[..., str], tmp_path: Path) -> None:
    mixed, both = prepared(save(), tmp_path / "mixed")
    plain, alone = prepared(save(x_unlabelled=None), tmp_path / "plain")
    assert np.array_equal(both.inputs[:480], alone.inputs) and plain.unlabelled == 0
    assert mixed.digests["test"] == plain.digests["test"] and mixed.fingerprint != plain.fingerprint
    other, _ = prepared(save(x_unlabelled=images(np.arange(1001, 1401))), tmp_path / "other")
    assert len({mixed.fingerprint, plain.fingerprint, other.fingerprint}) == 3


def test_what_is_held_out_or_labelled_is_not_taught_unlabelled(save: Callable[..., str], tmp_path: Path) -> None:
    held_out, val = np.arange(2000, 2010), np.arange(2010, 2015)
    more = np.concatenate([np.arange(1000, 1010), [1003], held_out, val, [0] * 4])  # which may repeat one another
    known = {"x_test": images(held_out), "y_test": held_out % CLASSES, "x_val": images(val), "y_val": val % CLASSES}
    manifest, train = prepared(save(x_unlabelled=images(more), **known), tmp_path / "out")
    assert manifest.unlabelled == 11 and manifest.duplicates == 15
    assert sorted(values_of(train)[-11:].tolist()) == sorted([*range(1000, 1010), 1003])
    assert "4 unlabelled samples were left out because train has the same ones with a label" in manifest.notes


def test_train_of_which_only_unlabelled_samples_are_left(save: Callable[..., str], tmp_path: Path) -> None:
    x, other, y = images(np.arange(10)), images(np.arange(20, 30)), np.zeros(10, np.int64)
    path = save(x_train=x, y_train=y, x_val=other, y_val=y, x_test=x, y_test=y)
    with pytest.raises(BadInput, match="no labelled sample is left in train"):
        prepared(path, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_numbers_to_predict(save: Callable[..., str], tmp_path: Path) -> None:
    x = np.arange(12.0)[:, None] + np.array([0, 100])
    path = save(x_train=x, y_train=3 * x[:, 0], x_unlabelled=x + 50)
    how = Preprocessing(identity=True, input_shape=(2,))
    _, train = prepared(path, tmp_path / "out", how, target_shape=(1,))
    assert train.labels is not None and train.labels.shape == (10, 1) and len(train) == 22
    assert np.array_equal(train.labels[:, 0], 3 * train.inputs[:10, 0])


def test_of_the_generic_task_all_is_train(save: Callable[..., str], tmp_path: Path) -> None:
    source = open_source(save(), task="generic")
    assert source.unlabelled is None and source.parts["train"].count == 1000
    manifest, train = prepared(save(), tmp_path / "out", task="generic")
    assert train.labels is None and manifest.unlabelled == 0 and manifest.counts["train"] == 800
    values = np.concatenate([values_of(open_split(tmp_path / "out", name)) for name in ("train", "val", "test")])
    assert sorted(values.tolist()) == [*range(600), *range(1000, 1400)]


def test_a_first_look_is_of_what_is_scored(save: Callable[..., str]) -> None:
    facts = peek(save(x_unlabelled=np.zeros((3, 9, 7, 3), np.uint8)))
    assert facts.uniform_size == (4, 4) and facts.largest_label == CLASSES - 1 and facts.labels == "classes"


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"x_unlabeled": images(np.arange(3))}, "both 'unlabeled' and 'unlabelled'; keep one"),
        ({"y_train": None}, "unlabelled samples apart but no labels at all; put them into train"),
        ({"x_unlabelled": np.zeros((3, 4, 4), np.uint8)}, "x_train 3 channels, x_unlabelled 1 channels"),
        ({"x_unlabelled": np.zeros((3, 4, 4, 3))}, r"x_unlabelled floats \(n, 4, 4, 3\); store them alike"),
        ({"x_unlabelled": np.zeros((0, 4, 4, 3), np.uint8)}, "x_unlabelled .*holds no values"),
    ],
)
def test_refused_in_one_sentence(save: Callable[..., str], changed: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint) as caught:
        open_source(save(**changed))
    assert "\n" not in str(caught.value)


@pytest.fixture
def damaged(tmp_path: Path, noise: Callable, write_images: Callable) -> Callable[[int, int], Path]:
    """A folder of 30 labelled and 60 unlabelled images, of which that many of each are no images."""

    def write(labelled: int, unlabelled: int) -> Path:
        for at, (name, count) in enumerate((("train/a", 15), ("train/b", 15), ("unlabelled", 60))):
            write_images(tmp_path / "images" / name, noise(count, 4, 4, seed=at))
        for name, count in (("train/a", labelled), ("unlabelled", unlabelled)):
            for at in range(count):
                (tmp_path / "images" / name / f"{at:04d}.png").write_bytes(b"")
        return tmp_path / "images"

    return write


@pytest.mark.parametrize(
    ("labelled", "unlabelled", "complaint"),
    [
        (4, 0, "at least 4 of 30 labelled images cannot be used, more than the 10 % .*train/a/000"),
        (0, 7, "at least 7 of 60 unlabelled images cannot be used, more than the 10 % .*unlabelled/000"),
    ],
)
def test_neither_labelled_nor_unlabelled_samples_make_up_for_what_fails_of_the_others(
    damaged: Callable[[int, int], Path], tmp_path: Path, labelled: int, unlabelled: int, complaint: str
) -> None:
    with pytest.raises(BadInput, match=complaint):
        prepared(str(damaged(labelled, unlabelled)), tmp_path / "out", max_skipped=0.1)
    assert list((tmp_path / "out").iterdir()) == []


def test_what_fails_of_both_is_told_together(damaged: Callable[[int, int], Path], tmp_path: Path) -> None:
    manifest, train = prepared(str(damaged(3, 6)), tmp_path / "out", max_skipped=0.1)
    assert (manifest.skipped, manifest.unlabelled) == (9, 54) and sum(manifest.counts.values()) == 81
    assert train.labels is not None and len(train.labels) == len(train) - 54
    assert any(note.startswith("9 of 90 images were skipped") for note in manifest.notes)
