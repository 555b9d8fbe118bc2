"""Small image folders and arrays that the data tests are made of."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

Pixels = npt.NDArray[np.uint8]


@pytest.fixture
def noise() -> Callable[..., Pixels]:
    """Distinct random images uint8 (n, height, width, channels)."""

    def make(n: int, height: int = 8, width: int = 8, channels: int = 3, seed: int = 0) -> Pixels:
        return np.random.default_rng(seed).integers(0, 256, (n, height, width, channels), dtype=np.uint8)

    return make


@pytest.fixture
def write_images() -> Callable[..., None]:
    """Write images as PNG files `0000.png`, ... into a folder, made on the way."""

    def write(folder: Path, images: Pixels) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for at, image in enumerate(images):
            Image.fromarray(image.squeeze()).save(folder / f"{at:04d}.png")

    return write


@pytest.fixture
def class_folders(tmp_path: Path, noise: Callable[..., Pixels], write_images: Callable[..., None]) -> Path:
    """cat/ with 20 and dog/ with 40 images of 8 x 8."""
    root = tmp_path / "images"
    write_images(root / "cat", noise(20, seed=1))
    write_images(root / "dog", noise(40, seed=2))
    return root
