"""Every recipe in `pipelines/` runs on small data and does what its first line says."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

NORMALISED = ("--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5")


@pytest.fixture
def compress(edgekd, tmp_path: Path, trained_pt2: Path):
    def run(*options: object) -> dict:
        done = edgekd("compress", trained_pt2, "--out", tmp_path / "run", "--json", *NORMALISED, *options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_image_classification(compress, stripes_npz: Path) -> None:
    found = compress("--recipe", "image-classification", "--data", stripes_npz, "--epochs", 2, "--batch-size", 32)
    assert found["distillation"]["gain"] is not None
    assert found["models"]["student"]["macs"] <= 0.5 * found["models"]["teacher"]["macs"]


def test_quantize_only(compress, stripes_npz: Path) -> None:
    found = compress("--recipe", "quantize-only", "--data", stripes_npz)
    assert found["models"]["student"] is None
    assert found["models"]["control"] is None
    static = next(c for c in found["candidates"] if c["id"] == "int8_static-onnxruntime")
    assert found["models"]["teacher"]["score"]["value"] - static["score"]["value"] <= 0.02
    assert static["host_ratio_to_fp32"]["word"] == "measured"


def test_no_data(compress) -> None:
    found = compress("--recipe", "no-data")
    assert found["score_name"] is None
    assert found["models"]["shipped"]["score"] is None
    assert found["headline"].startswith("No data were given")
    assert found["splits"] is None


def test_quick_look(compress, stripes_npz: Path) -> None:
    found = compress("--recipe", "quick-look", "--data", stripes_npz, "--batch-size", 32)
    assert found["models"]["control"] is None
    assert found["distillation"]["gain"] is None
    assert any("no control was trained" in line for line in found["unknown"])


def test_unlabelled_images_distill_and_score_agreement(compress, stripes_folder: Path, tmp_path: Path) -> None:
    flat = tmp_path / "images"
    flat.mkdir()
    for path in (stripes_folder / "train").glob("*/*.png"):
        (flat / f"{path.parent.name}-{path.name}").write_bytes(path.read_bytes())
    found = compress("--data", flat, "--epochs", 2, "--batch-size", 32)
    assert found["score_name"] == "agreement"
    assert found["models"]["teacher"]["score"]["value"] == pytest.approx(1.0, abs=0.02)
    assert found["models"]["control"] is None
    assert "agreement with the teacher" in found["headline"]
