"""Which reader a folder gets where it could be several things, and names that no artifact can hold."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekd.data.readers import kind_of, open_source
from edgekd.errors import BadInput


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    for name in ("yes", "no"):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "train" / name / "1.wav").write_bytes(b"")
    return tmp_path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / name / "1.png")
    return tmp_path


def test_a_list_of_files_beside_them_is_no_table(sounds: Path) -> None:
    (sounds / "train.csv").write_text("file,label\n1.wav,yes\n")
    assert kind_of(str(sounds)) == "wav folder"


def test_an_archive_beside_images_is_not_taken_for_the_data(images: Path) -> None:
    (images / "images.tar").write_bytes(bytes(1024))
    with pytest.raises(BadInput, match=r"holds \.tar files beside other data"):
        kind_of(str(images))


@pytest.mark.parametrize("name", ["red\ncell", "red\u2028cell", "red\x1b[31m"])
def test_class_names_are_lines_of_text(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x_train=np.zeros((2, 4, 4, 3), np.uint8), y_train=np.arange(2), classes=np.array(["blue", name]))
    with pytest.raises(BadInput, match="one line of printable characters"):
        open_source(str(path))
