"""Artifacts: what is not listed, changed or computes something else is refused."""

import hashlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.errors import BadInput
from edgekd.stages.configure import write_ort
from edgekd.verification import verify


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


def write_parity(folder: Path, *, factor: float, **more: object) -> None:
    inputs = np.array([[1.0, -2.0], [3.0, 0.5]], np.float32)
    np.savez(folder / "parity" / "vectors.npz", input=inputs, logits=factor * inputs)
    (folder / "parity" / "parity.json").write_text(
        json.dumps({"runtime": "onnxruntime", "relative_tolerance": 0.05, **more})
    )
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


def test_a_file_in_the_runtimes_own_format_is_replayed_too(artifact: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "input.npy", np.ones((1, 2), np.float32))
    assert write_ort(artifact / "model.onnx", artifact / "model.ort", tmp_path / "input.npy")
    list_files(artifact)
    assert verify(artifact).files == 4
    model = onnx.load(artifact / "model.onnx")
    model.graph.node[0].op_type = "Mul"
    onnx.save(model, tmp_path / "square.onnx")
    assert write_ort(tmp_path / "square.onnx", artifact / "model.ort", tmp_path / "input.npy")
    list_files(artifact)
    with pytest.raises(BadInput, match=r"model\.ort gives outputs that differ"):
        verify(artifact)


@pytest.mark.parametrize(
    "session", [{"CACHE_DIR": "/elsewhere"}, {"INFERENCE_PRECISION_HINT": "f8"}, ["bf16"], "bf16", None]
)
def test_a_session_option_other_than_a_precision(artifact: Path, session: object) -> None:
    write_parity(artifact, factor=2.0, session=session)
    with pytest.raises(BadInput, match=r"session is .*, a precision is wanted"):
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


def test_a_link_to_a_folder(artifact: Path) -> None:
    (artifact.parent / "plugins").mkdir()
    (artifact / "samples").symlink_to(artifact.parent / "plugins")
    with pytest.raises(BadInput, match="'samples', a link"):
        verify(artifact)


def test_weights_in_another_file(artifact: Path) -> None:
    """Listed and unchanged, but the weights of an artifact lie in its model, or beside it under the model's name."""
    weight = numpy_helper.from_array(np.zeros((1, 2), np.float32), "zero")
    graph = helper.make_graph(
        [helper.make_node("Add", ["input", "zero"], ["logits"])],
        "external",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    whole = model.SerializeToString()
    onnx.save(model, artifact / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    write_parity(artifact, factor=1.0)
    with pytest.raises(BadInput, match=r"elsewhere than in model\.onnx\.data"):
        verify(artifact)
    (artifact / "model.onnx").write_bytes(whole)
    (artifact / "w.bin").unlink()
    list_files(artifact)
    assert verify(artifact).vectors == 2


INPUTS = np.array([[1.0, -2.0], [3.0, 0.5]], np.float32)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"input": INPUTS}, r"holds no outputs"),
        ({"input": INPUTS, "logits": np.concatenate([INPUTS, INPUTS], axis=1)}, r"shape \(2, 2\).*holds \(2, 4\)"),
        ({"input": INPUTS, "logits": INPUTS[:1]}, "holds 2 inputs and 1 outputs"),
        ({"input": INPUTS[:0], "logits": INPUTS[:0]}, "holds 0 inputs"),
        ({"input": INPUTS[:, :1], "logits": INPUTS}, "does not run it"),
        ({"input": INPUTS.astype(np.float64), "logits": INPUTS}, r"input\.npy says 'float64'"),
        ({"input": INPUTS.astype(">f4"), "logits": INPUTS}, r"input\.npy says '>f4'"),
        ({"input": np.array([{}, 1], object), "logits": INPUTS}, r"input\.npy says 'object'"),
        ({"input": np.array(["a", "b"]), "logits": INPUTS}, r"input\.npy says '<U1'"),
        ({"input": np.float32(1), "logits": INPUTS}, r"of shape '\(\)'"),
        ({"input": INPUTS, "logits": INPUTS * np.float32("nan")}, r"logits\.npy holds values that are not finite"),
    ],
)
def test_vectors_that_cannot_be_replayed(artifact: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(artifact / "parity" / "vectors.npz", **arrays)
    list_files(artifact)
    with pytest.raises(BadInput, match=message):
        verify(artifact)


def header(text: str) -> bytes:
    """A .npy header, format 1.0."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (b"", "is no array"),
        (b"\x80\x04.", "is no array"),
        (header("(" * 200), "is no array"),
        (header('"""'), "is no array"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 2)}"), "holds 0 bytes"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 0)}"), "says 'float32' of shape"),
    ],
)
def test_headers_that_are_broken_or_claim_too_much(artifact: Path, member: bytes, message: str) -> None:
    with zipfile.ZipFile(artifact / "parity" / "vectors.npz", "w") as archive:
        archive.writestr("input.npy", member)
        archive.writestr("logits.npy", member)
    list_files(artifact)
    with pytest.raises(BadInput, match=message):
        verify(artifact)


def test_a_file_of_vectors_that_is_no_archive_or_a_bomb(artifact: Path) -> None:
    path = artifact / "parity" / "vectors.npz"
    path.write_bytes(b"no zip")
    list_files(artifact)
    with pytest.raises(BadInput, match="not a complete zip archive"):
        verify(artifact)
    np.savez_compressed(path, input=np.zeros((2**24, 2), np.float32), logits=INPUTS)
    list_files(artifact)
    with pytest.raises(BadInput, match="far more than the file holds"):
        verify(artifact)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("\ud800", "cannot be read as JSON"),
        ("[]", "runtime is"),
        ('{"runtime": "tflite", "relative_tolerance": 0.05}', "runtime is 'tflite', known: onnxruntime"),
        ('{"runtime": ["onnxruntime"], "relative_tolerance": 0.05}', "runtime is"),
        ('{"runtime": "onnxruntime"}', "relative_tolerance is 'None'"),
        ('{"runtime": "onnxruntime", "relative_tolerance": Infinity}', "relative_tolerance is 'inf'"),
        ('{"runtime": "onnxruntime", "relative_tolerance": NaN}', "relative_tolerance is 'nan'"),
        ('{"runtime": "onnxruntime", "relative_tolerance": "0.05"}', "relative_tolerance is"),
    ],
)
def test_expectations_that_make_no_sense(artifact: Path, text: str, message: str) -> None:
    (artifact / "parity" / "parity.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    list_files(artifact)
    with pytest.raises(BadInput, match=message):
        verify(artifact)


@pytest.mark.parametrize("name", ["/etc/hostname", "a/../../b", "./model.onnx", "a//b", "c:x", "a\\b", "a\0b", "", "."])
def test_names_that_are_not_plainly_inside(artifact: Path, name: str) -> None:
    with (artifact / "SHA256SUMS").open("a", newline="") as file:
        file.write(f"{'0' * 64}  {name}\n")
    with pytest.raises(BadInput, match="lies outside the artifact"):
        verify(artifact)


def test_sums_that_are_no_regular_file_or_too_long(artifact: Path) -> None:
    sums = artifact / "SHA256SUMS"
    sums.write_text(sums.read_text() + f"{'0' * 64}  x\n" * 20_000)
    with pytest.raises(BadInput, match="no readable SHA256SUMS"):
        verify(artifact)
    sums.unlink()
    os.mkfifo(sums)
    with pytest.raises(BadInput, match="no readable SHA256SUMS"):
        verify(artifact)


def test_whole_numbers_in_and_several_outputs(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gather", ["table", "input"], ["output_0"]),
        helper.make_node("ReduceMean", ["output_0"], ["output_1"], axes=[1]),
    ]
    sizes = {"output_0": 3, "output_1": 1}
    graph = helper.make_graph(
        nodes,
        "lookup",
        [helper.make_tensor_value_info("input", TensorProto.INT64, [1, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name, size in sizes.items()],
        [numpy_helper.from_array(np.array([5.0, 6.0, 8.0], np.float32), "table")],
    )
    folder = tmp_path / "artifact"
    (folder / "parity").mkdir(parents=True)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx"
    )
    (folder / "parity" / "parity.json").write_text(json.dumps({"runtime": "onnxruntime", "relative_tolerance": 0.05}))
    ids = np.array([[0, 1, 2], [2, 2, 1]])
    said = np.array([5.0, 6.0, 8.0], np.float32)[ids]
    for mean, sound in ((said.mean(1, keepdims=True), True), (said.mean(1, keepdims=True) * 1.2, False)):
        np.savez(folder / "parity" / "vectors.npz", input=ids, output_0=said, output_1=mean)
        list_files(folder)
        if sound:
            assert verify(folder).vectors == 2
        else:
            with pytest.raises(BadInput, match="outputs that differ by"):
                verify(folder)
