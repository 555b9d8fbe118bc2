"""Folder layouts: what counts as a split, a class or an image, and what is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekd.data.image_folder import read_image_folder
from edgekd.data.readers import open_source
from edgekd.errors import BadInput

Write = Callable[..., None]


def names(root: Path, split: str = "train") -> list[str]:
    part = read_image_folder(str(root)).parts[split]  # type: ignore[index]
    return [part.name(at) for at in range(part.count)]


def test_flat_class_folders(class_folders: Path) -> None:
    source = read_image_folder(str(class_folders))
    assert source.classes == ("cat", "dog") and list(source.parts) == ["train"]
    assert source.parts["train"].labels().tolist() == [0] * 20 + [1] * 40  # type: ignore[union-attr]


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_split_folders(tmp_path: Path, noise: Callable, write_images: Write, val: str) -> None:
    for split in ("train", val, "test"):
        write_images(tmp_path / split / "cat", noise(2))
        write_images(tmp_path / split / "dog", noise(1))
    source = read_image_folder(str(tmp_path))
    assert set(source.parts) == {"train", "val", "test"}
    assert source.parts["val"].labels().tolist() == [0, 0, 1]  # type: ignore[union-attr]


def test_a_held_out_split_may_lack_a_class(tmp_path: Path, noise: Callable, write_images: Write) -> None:
    for name in ("ant", "cat", "dog"):
        write_images(tmp_path / "train" / name, noise(2))
    write_images(tmp_path / "test" / "dog", noise(2))
    test = read_image_folder(str(tmp_path)).parts["test"]
    assert test.labels().tolist() == [2, 2]  # type: ignore[union-attr]


def test_a_class_may_be_called_train(tmp_path: Path, noise: Callable, write_images: Write) -> None:
    for name in ("car", "plane", "train"):
        write_images(tmp_path / name, noise(1))
    assert read_image_folder(str(tmp_path)).classes == ("car", "plane", "train")


def test_images_alone_are_unlabelled(tmp_path: Path, noise: Callable, write_images: Write) -> None:
    write_images(tmp_path, noise(3))
    source = read_image_folder(str(tmp_path))
    assert not source.labelled and source.classes is None and source.parts["train"].labels() is None


def test_hidden_and_foreign_files_are_passed_over(class_folders: Path) -> None:
    (class_folders / "cat" / ".hidden.png").write_bytes(b"")
    (class_folders / "cat" / "Thumbs.db").write_bytes(b"")
    (class_folders / ".cache").mkdir()
    (class_folders / "README.txt").write_text("about")
    assert len(names(class_folders)) == 60 and read_image_folder(str(class_folders)).classes == ("cat", "dog")


def test_nested_folders_belong_to_their_class(class_folders: Path, noise: Callable, write_images: Write) -> None:
    write_images(class_folders / "cat" / "winter" / "night", noise(2, seed=9))
    assert "cat/winter/night/0001.png" in names(class_folders)


@pytest.mark.parametrize("place", ["cat/loop", "cat/deep/loop", "loop"])
def test_links_upwards_end_and_bring_nothing(class_folders: Path, place: str) -> None:
    (class_folders / place).parent.mkdir(exist_ok=True)
    (class_folders / place).symlink_to(class_folders, target_is_directory=True)
    (class_folders / "self.png").symlink_to("self.png")
    assert len(names(class_folders)) == 60


def test_links_to_folders_elsewhere_are_followed(
    class_folders: Path, tmp_path: Path, noise: Callable, write_images: Write
) -> None:
    write_images(tmp_path / "elsewhere", noise(3, seed=5))
    (class_folders / "emu").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert read_image_folder(str(class_folders)).classes == ("cat", "dog", "emu")


def test_empty_class_folder(class_folders: Path) -> None:
    (class_folders / "emu").mkdir()
    with pytest.raises(BadInput, match=r"class folder without images .*'emu'"):
        read_image_folder(str(class_folders))


def test_no_images_at_all(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "notes.txt").write_text("nothing")
    with pytest.raises(BadInput, match="no images in"):
        read_image_folder(str(tmp_path))


def test_images_beside_class_folders(class_folders: Path, noise: Callable, write_images: Write) -> None:
    write_images(class_folders, noise(1))
    with pytest.raises(BadInput, match=r"'0000.png'.* beside class folders"):
        read_image_folder(str(class_folders))


def test_held_out_split_with_an_unknown_class(tmp_path: Path, noise: Callable, write_images: Write) -> None:
    write_images(tmp_path / "train" / "cat", noise(2))
    write_images(tmp_path / "test" / "kat", noise(2))
    with pytest.raises(BadInput, match="test has classes that train lacks: 'kat'"):
        read_image_folder(str(tmp_path))


def test_labels_in_one_split_only(tmp_path: Path, noise: Callable, write_images: Write) -> None:
    write_images(tmp_path / "train", noise(2))
    write_images(tmp_path / "test" / "cat", noise(2))
    with pytest.raises(BadInput, match="train has images without class folders but test has"):
        read_image_folder(str(tmp_path))


def test_test_folder_without_train(tmp_path: Path, noise: Callable, write_images: Write) -> None:
    write_images(tmp_path / "test" / "cat", noise(2))
    with pytest.raises(BadInput, match="no train folder"):
        read_image_folder(str(tmp_path))


def test_two_folders_for_one_split(tmp_path: Path, noise: Callable, write_images: Write) -> None:
    for split in ("train", "val", "valid"):
        write_images(tmp_path / split / "cat", noise(2))
    with pytest.raises(BadInput, match="both 'val' and 'valid'"):
        read_image_folder(str(tmp_path))


@pytest.fixture
def mixed(tmp_path: Path, noise: Callable, write_images: Write) -> Path:
    """train/cat and train/dog with two images each, and four in unlabelled/, the last of 9 x 7 two folders down."""
    for at, name in enumerate(("cat", "dog")):
        write_images(tmp_path / "train" / name, noise(2, seed=at))
    write_images(tmp_path / "unlabelled", noise(3, seed=2))
    write_images(tmp_path / "unlabelled" / "day" / "noon", noise(1, 9, 7, seed=3))
    return tmp_path


@pytest.mark.parametrize("spelling", ["unlabelled", "unlabeled", "Unlabelled"])
def test_a_folder_of_unlabelled_images_beside_train(mixed: Path, spelling: str) -> None:
    (mixed / "unlabelled").rename(mixed / spelling)
    source = read_image_folder(str(mixed))
    assert source.classes == ("cat", "dog") and len(names(mixed)) == 4 and source.notes == ()
    more = source.unlabelled
    assert more is not None and more.labels() is None
    assert [more.name(at) for at in range(more.count)] == [
        *(f"{spelling}/{at:04d}.png" for at in range(3)),
        f"{spelling}/day/noon/0000.png",
    ]
    assert more.look is not None and more.look(3) == (9, 7, 3)
    everything = open_source(str(mixed), task="generic").parts["train"]
    assert everything.look is not None
    assert [everything.look(at) for at in range(everything.count)] == [(8, 8, 3)] * 7 + [(9, 7, 3)]
    assert everything.name(7) == more.name(3) and everything.fetch(7).size == (7, 9)


def test_a_class_may_be_called_unlabelled(mixed: Path, noise: Callable, write_images: Write) -> None:
    shutil.rmtree(mixed / "train")
    write_images(mixed / "other", noise(1))
    source = read_image_folder(str(mixed))
    assert source.classes == ("other", "unlabelled") and source.unlabelled is None
    write_images(mixed / "train", noise(1))
    assert read_image_folder(str(mixed)).classes == ("other", "train", "unlabelled")


def test_unlabelled_images_beside_unlabelled_ones(mixed: Path, noise: Callable, write_images: Write) -> None:
    shutil.rmtree(mixed / "train")
    write_images(mixed / "train", noise(9))
    with pytest.raises(BadInput, match="no labels at all; put them into train"):
        open_source(str(mixed))


def test_unlabelled_folders_that_are_refused(mixed: Path) -> None:
    shutil.rmtree(mixed / "unlabelled")
    (mixed / "unlabelled").mkdir()
    with pytest.raises(BadInput, match=r"no images in .*unlabelled'; known suffixes"):
        read_image_folder(str(mixed))
    (mixed / "unlabeled").mkdir()
    with pytest.raises(BadInput, match="both 'unlabeled' and 'unlabelled'; keep one"):
        read_image_folder(str(mixed))
