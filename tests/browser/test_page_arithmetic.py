"""The page's own arithmetic, run by Node.js: bit for bit what Pillow and numpy do to an image."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekd.data.image import Fit, fit_image
from edgekd.preprocessing import Preprocessing, normalise

PAGE = Path(__file__).resolve().parents[2] / "edgekd" / "browser" / "page"
SCRIPT = """
import { readFileSync, writeFileSync } from "node:fs";
import { fit, normalise } from "./preprocess.js";
for (const { name, height, width, how } of JSON.parse(readFileSync("jobs.json"))) {
  const rgba = new Uint8ClampedArray(readFileSync(`${name}.rgba`));
  const fitted = fit({ rgba, height, width }, how);
  writeFileSync(`${name}.fitted`, fitted.pixels);
  writeFileSync(`${name}.input`, new Uint8Array(normalise(fitted, how).buffer));
}
"""


@pytest.fixture
def node() -> str:
    found = shutil.which("node")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("no Node.js in CI: the page's arithmetic is not checked")
    if found is None:
        pytest.skip("no Node.js here: the page's arithmetic is not checked")
    return found


def a_job(rng: np.random.Generator, at: int) -> tuple[np.ndarray, Preprocessing]:
    """A random image, uint8 (height, width, 3), and what is to be done to it."""
    height, width, to_height, to_width = (int(size) for size in rng.integers(1, 90, 4))
    channels = int(rng.choice([1, 3]))
    how = {
        **{"height": to_height, "width": to_width, "channels": channels, "order": rng.choice(["rgb", "bgr"])},
        **{"scale": ("0..1", "0..255")[at % 2], "resize": ("bilinear", "bicubic")[at // 2 % 2]},
        **{"mean": rng.uniform(0, 1, channels).tolist(), "std": rng.uniform(0.1, 1, channels).tolist()},
        "crop": None if at % 3 else float(rng.uniform(0.5, 1)),
    }
    # Black and white only: whatever a filter overshoots is cut off, and every rounding shows.
    image = rng.integers(0, 2, (height, width, 3), np.uint8) * 255 if at % 5 == 0 else None
    return rng.integers(0, 256, (height, width, 3), np.uint8) if image is None else image, Preprocessing.model_validate(
        how
    )


def test_an_image_becomes_the_same_input_bit_for_bit(node: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    jobs = {f"job{at}": a_job(rng, at) for at in range(120)}
    described: list[dict[str, Any]] = []
    for name, (image, how) in jobs.items():
        opaque = np.full((*image.shape[:2], 1), 255, np.uint8)
        (tmp_path / f"{name}.rgba").write_bytes(np.concatenate([image, opaque], axis=2).tobytes())
        height, width, _ = image.shape
        described.append({"name": name, "height": height, "width": width, "how": json.loads(how.as_json())})
    (tmp_path / "jobs.json").write_text(json.dumps(described))
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "run.js").write_text(SCRIPT)
    for script in ("preprocess.js", "resize.js"):
        shutil.copy(PAGE / script, tmp_path)
    done = subprocess.run([node, "run.js"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for name, (image, how) in jobs.items():
        fit = Fit(how.height or 0, how.width or 0, how.channels or 0, how.resize, how.crop)
        expected = fit_image(Image.fromarray(image), fit)
        fitted = np.frombuffer((tmp_path / f"{name}.fitted").read_bytes(), np.uint8).reshape(expected.shape)
        assert np.array_equal(fitted, expected), (name, image.shape, how)
        made = np.frombuffer((tmp_path / f"{name}.input").read_bytes(), np.float32)
        assert np.array_equal(made, normalise(expected[None], how).ravel()), (name, how)
