"""From a data set to arrays on disk: content, disjointness, skipping, and nothing left after a failure."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekd.data.materialise import DataManifest, materialise, open_split
from edgekd.data.peek import peek
from edgekd.data.rows import RowWriter
from edgekd.errors import BadInput, EdgekdError
from edgekd.preprocessing import Preprocessing

SPLITS = ("train", "val", "test")
EIGHT = Preprocessing(height=8, width=8, channels=3, mean=(0, 0, 0), std=(1, 1, 1))


def prepared(source: Any, folder: Path, **options: Any) -> DataManifest:
    return materialise(str(source), folder, EIGHT, **options)


def rows_of(folder: Path, name: str) -> list[bytes]:
    return [row.tobytes() for row in open_split(folder, name).inputs]  # type: ignore[arg-type]


def test_folder_content_and_labels(class_folders: Path, tmp_path: Path) -> None:
    manifest = prepared(class_folders, tmp_path / "out")
    assert manifest.counts == {"train": 48, "val": 6, "test": 6}
    assert manifest.split_origin["val"] == "10 % of train, seed 0"
    originals = {
        np.asarray(Image.open(path)).tobytes(): label
        for label, name in enumerate(("cat", "dog"))
        for path in (class_folders / name).iterdir()
    }
    found = {}
    for name in SPLITS:
        split = open_split(tmp_path / "out", name)  # type: ignore[arg-type]
        assert split.inputs.dtype == np.uint8 and split.labels is not None
        found |= dict(zip(rows_of(tmp_path / "out", name), split.labels.tolist(), strict=True))
    assert found == originals
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["fingerprint"] == manifest.fingerprint


def test_same_seed_same_bytes(class_folders: Path, tmp_path: Path) -> None:
    first, again, other = (
        prepared(class_folders, tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == again and first.fingerprint != other.fingerprint
    for file in ("train_inputs.npy", "train_labels.npy", "test_inputs.npy", "manifest.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_head_of_train_is_mixed(class_folders: Path, tmp_path: Path) -> None:
    prepared(class_folders, tmp_path / "out")
    labels = open_split(tmp_path / "out", "train").labels
    assert labels is not None and set(labels[:12].tolist()) == {0, 1}


def test_classes_file_orders_labels(class_folders: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("dog\nemu\ncat\n")
    manifest = prepared(class_folders, tmp_path / "out", classes_file=tmp_path / "names.txt")
    assert manifest.classes == ("dog", "emu", "cat") and "'emu'" in manifest.notes[0]
    assert np.bincount(open_split(tmp_path / "out", "train").labels).tolist() == [32, 0, 16]  # type: ignore[arg-type]


def test_image_in_two_splits_is_removed_from_train(tmp_path: Path, noise: Callable) -> None:
    x = noise(13)
    x[10] = x[0]  # val repeats a training image; test repeats a training image and one of val
    x[11], x[12] = x[1], x[9]
    y = np.zeros(13, np.int64)
    np.savez(
        tmp_path / "d.npz", x_train=x[:8], y_train=y[:8], x_val=x[8:11], y_val=y[8:11], x_test=x[11:], y_test=y[11:]
    )
    manifest = prepared(tmp_path / "d.npz", tmp_path / "out")
    assert manifest.counts == {"train": 6, "val": 2, "test": 2} and manifest.duplicates == 3
    rows = [set(rows_of(tmp_path / "out", name)) for name in SPLITS]
    assert not (rows[0] & rows[1] or rows[0] & rows[2] or rows[1] & rows[2])
    assert any("3 images removed" in note for note in manifest.notes)


def test_validation_that_only_repeats_test(tmp_path: Path, noise: Callable) -> None:
    np.savez(tmp_path / "d.npz", x_train=noise(9, seed=1), x_val=noise(3), x_test=noise(3))
    with pytest.raises(BadInput, match="no sample is left in val"):
        prepared(tmp_path / "d.npz", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_undecodable_images_are_named_and_counted(class_folders: Path, tmp_path: Path) -> None:
    whole = (class_folders / "cat" / "0000.png").read_bytes()
    (class_folders / "dog" / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match=r"1 of 61 images cannot be used, more than the 1 % .*dog/cut\.png"):
        prepared(class_folders, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    manifest = prepared(class_folders, tmp_path / "out", max_skipped=0.05)
    assert manifest.skipped == 1 and "dog/cut.png" in manifest.skipped_examples[0]
    assert sum(manifest.counts.values()) == 60 and "1 of 61" in manifest.notes[0]


def test_first_three_of_many_are_named(class_folders: Path, tmp_path: Path) -> None:
    for at in range(9):
        (class_folders / "dog" / f"bad{at}.jpg").write_bytes(b"")
    with pytest.raises(BadInput) as caught:
        prepared(class_folders, tmp_path / "out")
    assert str(caught.value).count("dog/bad") == 3
    assert str(caught.value).count("(no known kind of image)") == 3 and str(tmp_path) not in str(caught.value)


def test_unlabelled_after_labelled_leaves_no_stale_labels(class_folders: Path, tmp_path: Path) -> None:
    prepared(class_folders, tmp_path / "out")
    manifest = prepared(class_folders / "dog", tmp_path / "out")
    assert not manifest.labelled and manifest.counts == {"train": 32, "val": 4, "test": 4}
    assert open_split(tmp_path / "out", "train").labels is None


def test_label_beyond_the_names(tmp_path: Path, noise: Callable) -> None:
    np.savez(tmp_path / "d.npz", x_train=noise(12), y_train=np.arange(12) % 3, classes=np.array(["a", "b"]))
    with pytest.raises(BadInput, match="label 2 but there are 2 class names"):
        peek(str(tmp_path / "d.npz"))


def test_class_that_is_only_tested_is_said(tmp_path: Path, noise: Callable) -> None:
    x, y = noise(23), np.array([0, 1] * 10 + [0, 1, 2])
    np.savez(tmp_path / "d.npz", x_train=x[:20], y_train=y[:20], x_test=x[20:], y_test=y[20:])
    manifest = prepared(tmp_path / "d.npz", tmp_path / "out")
    assert manifest.notes == ("classes in test without a training sample: '2'",) and manifest.largest_label == 2


def test_pixels_that_are_damaged_inside_the_archive(tmp_path: Path, noise: Callable) -> None:
    np.savez_compressed(tmp_path / "d.npz", x_train=noise(40))
    content = bytearray((tmp_path / "d.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(BadInput, match=r"x_train of .* cannot be read"):
        prepared(tmp_path / "d.npz", tmp_path / "out")


def test_control_characters_of_a_file_name_do_not_reach_the_terminal(class_folders: Path, tmp_path: Path) -> None:
    (class_folders / "dog" / "bad\n\x1b[31m.png").write_bytes(b"")
    with pytest.raises(BadInput) as caught:
        prepared(class_folders, tmp_path / "out")
    assert str(caught.value).isprintable() and r"dog/bad\n\x1b[31m.png" in str(caught.value)


def test_full_disk_beforehand(class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6 - 100, 100))
    with pytest.raises(EdgekdError, match="disk full"):
        prepared(class_folders, tmp_path / "out")


def test_disk_full_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(EdgekdError, match="disk full"), RowWriter(tmp_path / "a.npy", (2,), np.uint8) as rows:
        monkeypatch.setattr(rows, "_file", type("Full", (), {"write": full, "close": lambda _: None})())
        rows.append(np.zeros(2, np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_rows_are_read_back_by_numpy(tmp_path: Path) -> None:
    expected = np.random.default_rng(0).normal(size=(1234, 3, 2)).astype(np.float32)
    with RowWriter(tmp_path / "a.npy", (3, 2), np.float32) as writer:
        for row in expected:
            writer.append(row)
    assert np.array_equal(np.load(tmp_path / "a.npy", mmap_mode="r"), expected)


def test_peek_at_a_folder(class_folders: Path, noise: Callable, write_images: Callable) -> None:
    facts = peek(str(class_folders))
    assert (facts.kind, facts.count, facts.uniform_size, facts.channels) == ("image folder", 60, (8, 8), 3)
    assert facts.labelled and facts.classes == ("cat", "dog") and facts.largest_label == 1
    assert facts.input_shape is None and facts.labels == "classes"
    write_images(class_folders / "emu", noise(3, height=9))
    assert peek(str(class_folders)).uniform_size is None


@pytest.mark.parametrize(
    ("name", "complaint"), [("absent", "does not exist"), ("notes.txt", "of no known form"), ("x.py", "no known form")]
)
def test_data_of_no_known_form(tmp_path: Path, name: str, complaint: str) -> None:
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "x.py").write_text("")
    with pytest.raises(BadInput, match=complaint):
        peek(str(tmp_path / name))


def test_missing_split_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"train split in .* cannot be read"):
        open_split(tmp_path, "train")
