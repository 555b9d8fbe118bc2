"""The page in a real browser, used as a person does: the same answer as Python for the same image file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekd.browser.trial import try_artifact

pytestmark = pytest.mark.slow

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
ROUNDED = 0.011
"""Points of probability: the page shows two places."""
JPEG = 1.0
"""Points of probability: two JPEG decoders may differ by a level or two in a pixel."""


def photograph(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Smooth shapes with noise on them, uint8 (height, width, channels)."""
    rng = np.random.default_rng(height * width)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / rng.uniform(3, 20) + columns / rng.uniform(3, 20)) for _ in range(channels)]
    return np.clip(128 + 90 * np.stack(waves, axis=2) + rng.normal(0, 20, (height, width, channels)), 0, 255).astype(
        np.uint8
    )


def write_images(folder: Path) -> dict[str, Path]:
    """Image files of many sizes and modes."""
    folder.mkdir()
    palette = Image.fromarray(photograph(90, 70)).quantize(32)
    made = {
        "as-the-model.png": Image.fromarray(photograph(24, 32)),
        "tall.png": Image.fromarray(photograph(211, 57)),
        "wide.bmp": Image.fromarray(photograph(31, 300)),
        "tiny.png": Image.fromarray(photograph(3, 5)),
        "large.png": Image.fromarray(photograph(700, 1100)),
        "grey.png": Image.fromarray(photograph(60, 80, 1)[:, :, 0]),
        "transparent.png": Image.fromarray(photograph(66, 45, 4)),
        "grey-transparent.png": Image.fromarray(photograph(66, 45, 2)),
        "palette.png": palette,
        "palette.gif": palette,
        "bits.png": Image.fromarray(photograph(50, 50, 1)[:, :, 0]).convert("1"),
        "lossless.webp": Image.fromarray(photograph(80, 61)),
    }
    for name, image in made.items():
        image.save(folder / name, **({"lossless": True} if name.endswith(".webp") else {}))
    return {name: folder / name for name in made}


def assert_same(answer: dict[str, Any], expected: dict[str, float], tolerance: float, name: str) -> None:
    assert answer["answered"], (name, answer["state"])
    shown = {label: float(percent.removesuffix(" %")) for label, percent in answer["rows"]}
    best = sorted(expected, key=lambda label: -expected[label])
    assert next(iter(shown)) == best[0] or expected[best[0]] - expected[next(iter(shown))] < tolerance, name
    assert shown == pytest.approx(expected, abs=tolerance), name


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"crop": 0.875, "resize": "bicubic", "order": "bgr", "height": 40},
        {"channels": 1, "mean": (0.4,), "std": (0.3,), "resize": "bicubic"},
        {"scale": "0..255", "mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4), "crop": 0.9},
    ],
    ids=["plain", "crop, bicubic, bgr", "grey, bicubic", "0..255, crop"],
)
def test_every_kind_of_image_is_answered_as_python_does(
    make_artifact: Callable[..., Path],
    settings: dict[str, Any],
    web_runtime: Path,
    drive: Callable[..., dict[str, Any]],
    python_says: Callable[[Path, Path], dict[str, float]],
    tmp_path: Path,
) -> None:
    artifact = make_artifact(**settings)
    images = write_images(tmp_path / "images")
    with try_artifact(artifact) as address:
        said = drive(address, [("drop", file) for file in images.values()])
    assert said["check"].startswith("Pass: 8 parity vectors") and said["check"].endswith(
        "preprocessing as in training."
    )
    assert said["faults"] == []
    for (name, file), answer in zip(images.items(), said["answers"], strict=True):
        assert_same(answer, python_says(artifact, file), ROUNDED, name)
