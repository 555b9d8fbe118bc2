"""Artifacts: what is not listed, changed or computes something else is refused."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgekd.errors import BadInput
from edgekd.verify import verify


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """An artifact whose model doubles its input."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["input", "input"], ["logits"])],
        "double",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder = tmp_path / "artifact"
    (folder / "parity").mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
    write_parity(folder, factor=2.0)
    return folder


def write_parity(folder: Path, *, factor: float) -> None:
    inputs = np.array([[1.0, -2.0], [3.0, 0.5]], np.float32)
    np.savez(folder / "parity" / "vectors.npz", input=inputs, logits=factor * inputs)
    (folder / "parity" / "parity.json").write_text(json.dumps({"runtime": "onnxruntime", "relative_tolerance": 0.05}))
    list_files(folder)


def list_files(folder: Path) -> None:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder).as_posix()}\n" for p in files]
    (folder / "SHA256SUMS").write_text("".join(lines))


def test_a_sound_artifact(artifact: Path) -> None:
    found = verify(artifact)
    assert (found.files, found.vectors, found.largest_difference) == (3, 2, 0.0)


def test_a_model_that_computes_something_else(artifact: Path) -> None:
    write_parity(artifact, factor=2.2)
    with pytest.raises(BadInput, match=r"differ by 9\.1%"):
        verify(artifact)


def test_an_unlisted_file(artifact: Path) -> None:
    (artifact / "extra.so").write_bytes(b"\x7fELF")
    with pytest.raises(BadInput, match=r"'extra\.so', which SHA256SUMS does not list"):
        verify(artifact)


def test_a_missing_a_changed_and_a_linked_file(artifact: Path) -> None:
    weights = (artifact / "model.onnx").read_bytes()
    (artifact / "model.onnx").unlink()
    with pytest.raises(BadInput, match="is missing"):
        verify(artifact)
    (artifact / "model.onnx").write_bytes(weights + b"\0")
    with pytest.raises(BadInput, match="has changed"):
        verify(artifact)
    (artifact / "model.onnx").unlink()
    (artifact.parent / "outside.onnx").write_bytes(weights)
    (artifact / "model.onnx").symlink_to(artifact.parent / "outside.onnx")
    with pytest.raises(BadInput):
        verify(artifact)


def test_a_list_that_points_outside(artifact: Path) -> None:
    (artifact.parent / "secret").write_text("secret")
    with (artifact / "SHA256SUMS").open("a") as file:
        file.write(f"{hashlib.sha256(b'secret').hexdigest()}  ../secret\n")
    with pytest.raises(BadInput, match="lies outside the artifact"):
        verify(artifact)


def test_a_folder_that_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is no artifact"):
        verify(tmp_path)
