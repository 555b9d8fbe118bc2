"""`edgekd verify` on whole artifacts: every graph is run, every byte counts, and where the folder lies does not."""

import json
import os
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

import edgekd
from edgekd.benchmark_program import import_runtime
from edgekd.errors import BadInput

making = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "making.py")))

GRAPHS = ("model.onnx", "model.ort", "app.onnx", "app.ort")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(making.make_artifact(tmp_path_factory.mktemp("made")))


@pytest.fixture
def artifact(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "artifact"))


def test_apps_and_models_are_all_run(artifact: Path) -> None:
    found = edgekd.verify(artifact)
    assert found.graphs == GRAPHS and found.left_out == {}
    assert found.largest_difference < 1e-6 and found.vectors == 8


@pytest.mark.parametrize(
    "changes",
    [{"order": "bgr"}, {"scale": "0..255"}, {"std": (0.5,) * 3}, {"crop": 0.5}, {"resize": "bicubic"}],
    ids=str,
)
def test_an_app_that_prepares_images_otherwise(artifact: Path, changes: dict[str, Any]) -> None:
    making.spoil_app(artifact, **changes)
    with pytest.raises(BadInput, match=r"app\.onnx answers .* for parity/raw\d\.npy"):
        edgekd.verify(artifact)


def test_labels_in_another_order(artifact: Path) -> None:
    (artifact / "labels.txt").write_text("".join(f"{name}\n" for name in making.CLASSES[::-1]), encoding="utf-8")
    making.list_again(artifact)
    with pytest.raises(BadInput, match=r"app\.onnx answers .*, expected .*, for parity/raw"):
        edgekd.verify(artifact)


def test_a_probability_beyond_the_tolerance(artifact: Path) -> None:
    path = artifact / "parity" / "parity.json"
    parity = json.loads(path.read_text())
    parity["vectors"][0]["probabilities"][0] += 0.05
    path.write_text(json.dumps(parity))
    making.list_again(artifact)
    with pytest.raises(BadInput, match=r"probability that differs by 0\.05 \(0\.02 is allowed\)"):
        edgekd.verify(artifact)


def test_an_app_that_does_not_take_the_raw_input(artifact: Path) -> None:
    np.save(artifact / "parity" / "raw0.npy", np.zeros((5, 5), np.uint8))
    making.list_again(artifact)
    with pytest.raises(BadInput, match=r"does not run it on parity/raw0\.npy"):
        edgekd.verify(artifact)
    np.save(artifact / "parity" / "raw0.npy", np.zeros((6, 8, 3), np.float32))
    making.list_again(artifact)
    with pytest.raises(BadInput, match=r"raw0\.npy says 'float32' .* uint8 by rows is wanted"):
        edgekd.verify(artifact)


def test_where_vectors_hold_outputs_alone_the_app_is_left_out_and_that_is_said(artifact: Path) -> None:
    path = artifact / "parity" / "parity.json"
    parity = json.loads(path.read_text())
    path.write_text(json.dumps(parity | {"answer": "outputs", "vectors": [{} for _ in parity["vectors"]]}))
    making.list_again(artifact)
    found = edgekd.verify(artifact)
    assert found.graphs == GRAPHS[:2] and set(found.left_out) == {"app.onnx", "app.ort"}
    assert "outputs alone" in found.left_out["app.onnx"]


def test_a_file_for_openvino_is_run_too(artifact: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    openvino = import_runtime("openvino")

    def convert(model: Path) -> None:
        openvino.save_model(openvino.Core().read_model(model), artifact / "model.xml", compress_to_fp16=False)
        making.list_again(artifact)

    convert(artifact / "model.onnx")
    assert "model.xml" in edgekd.verify(artifact).graphs
    model = onnx.load(artifact / "model.onnx")
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0])
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights * 2, "weights"))
    onnx.save(model, tmp_path / "doubled.onnx")
    convert(tmp_path / "doubled.onnx")
    with pytest.raises(BadInput, match=r"model\.xml gives outputs that differ by 100\.0%"):
        edgekd.verify(artifact)


def test_one_flipped_byte_in_any_file_is_found_and_named(artifact: Path) -> None:
    rng = np.random.default_rng(0)
    for path in sorted(p for p in artifact.rglob("*") if p.is_file()):
        content = path.read_bytes()
        places = {0, len(content) - 1, *rng.integers(0, len(content), 6).tolist()}
        for at in places:
            spoiled = bytearray(content)
            spoiled[at] ^= 1 << int(rng.integers(8))
            path.write_bytes(spoiled)
            with pytest.raises(BadInput) as error:
                edgekd.verify(artifact)
            assert error.value.exit_code == 3
            assert path.name in str(error.value), (path.name, at)
        path.write_bytes(content)
    assert edgekd.verify(artifact)


def test_every_byte_of_the_list_itself_counts(artifact: Path) -> None:
    path = artifact / "SHA256SUMS"
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        spoiled = bytearray(content)
        spoiled[at] ^= 1
        path.write_bytes(spoiled)
        with pytest.raises(BadInput, match="SHA256SUMS"):
            edgekd.verify(artifact)


def test_moved_renamed_and_read_only_in_a_path_with_spaces_and_other_letters(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "Geräte für 猫" / "näch ste"
    place.parent.mkdir()
    shutil.move(artifact, place)
    for path in [*place.rglob("*"), place]:
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        assert edgekd.verify(place).graphs == GRAPHS
        monkeypatch.chdir(place)
        assert edgekd.verify(".").files == edgekd.verify(os.fspath(place)).files
    finally:
        for path in [place, *place.rglob("*")]:
            path.chmod(0o700)
