"""Artifacts: what is not listed, changed or computes something else is refused."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.artifact.runtimes.ort_format import write_ort
from edgekd.device import load_profile
from edgekd.errors import BadInput
from edgekd.verification import verify

INPUTS = np.array([[1.0, -2.0], [3.0, 0.5]], np.float32)
PARITY = {
    **{"schema": 1, "reference": "numpy", "runtime": "onnxruntime", "session": {}, "kind": "array"},
    **{"answer": "outputs", "outputs": ["logits"], "vectors": [{}, {}]},
    "tolerance": {"input": 1e-5, "output": 0.05, "probability": 0.02, "box": 0.02},
}


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
    write_arrays(folder, {"input": INPUTS, "output0": np.float32(factor) * INPUTS}, **more)


def write_arrays(folder: Path, arrays: dict[str, np.ndarray], **more: object) -> None:
    """Parity vectors of numbers as they come."""
    outputs = [name for name in arrays if name.startswith("output")] or ["output0"]
    described = PARITY | {"outputs": outputs, "vectors": [{}] * len(np.atleast_1d(arrays["input"])), **more}
    (folder / "parity" / "parity.json").write_text(json.dumps(described))
    for name, array in arrays.items():
        np.save(folder / "parity" / f"{name}.npy", array)
    list_files(folder)


def list_files(folder: Path) -> None:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder).as_posix()}\n" for p in files]
    (folder / "SHA256SUMS").write_text("".join(lines))


def test_a_sound_artifact(artifact: Path) -> None:
    found = verify(artifact)
    assert (found.files, found.vectors, found.largest_difference) == (4, 2, 0.0)


def test_a_model_that_computes_something_else(artifact: Path) -> None:
    write_parity(artifact, factor=2.2)
    with pytest.raises(BadInput, match=r"differ by 9\.1%"):
        verify(artifact)


def test_a_file_in_the_runtimes_own_format_is_replayed_too(artifact: Path, tmp_path: Path) -> None:
    here = {"profile": load_profile("host"), "given": np.ones((1, 2), np.float32)}
    write_ort(artifact / "model.onnx", artifact / "model.ort", **here)
    list_files(artifact)
    assert verify(artifact).files == 5
    model = onnx.load(artifact / "model.onnx")
    model.graph.node[0].op_type = "Mul"
    onnx.save(model, tmp_path / "square.onnx")
    write_ort(tmp_path / "square.onnx", artifact / "model.ort", **here)
    list_files(artifact)
    with pytest.raises(BadInput, match=r"model\.ort gives outputs that differ"):
        verify(artifact)


@pytest.mark.parametrize(
    "session", [{"CACHE_DIR": "/elsewhere"}, {"INFERENCE_PRECISION_HINT": "f8"}, ["bf16"], "bf16", None]
)
def test_a_session_option_other_than_a_precision(artifact: Path, session: object) -> None:
    write_parity(artifact, factor=2.0, session=session)
    with pytest.raises(BadInput, match="'session' "):
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


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, r"output0\.npy is no array \('missing"),
        ({"output0": np.concatenate([INPUTS, INPUTS], axis=1)}, r"shape \(2, 2\).*holds \(2, 4\)"),
        ({"output0": INPUTS[:1]}, r"output0\.npy has the shape \(1, 2\) for 2 vectors"),
        ({"output0": INPUTS[:, :0]}, r"output0\.npy has the shape \(2, 0\) for 2 vectors"),
        ({"output0": np.float32(1)}, r"output0\.npy has the shape \(\) for 2 vectors"),
        ({"input": INPUTS[:, :1], "output0": INPUTS}, "does not run it"),
        ({"input": INPUTS.astype(np.float64), "output0": INPUTS}, r"input\.npy says 'float64'"),
        ({"input": INPUTS.astype(">f4"), "output0": INPUTS}, r"input\.npy says '>f4'"),
        ({"input": np.array([{}, 1], object), "output0": INPUTS}, r"input\.npy says 'object'"),
        ({"input": np.array(["a", "b"]), "output0": INPUTS}, r"input\.npy says '<U1'"),
        ({"input": np.asfortranarray(INPUTS), "output0": INPUTS}, r"input\.npy says .* by rows is wanted"),
        ({"output0": INPUTS * np.float32("nan")}, r"output0\.npy holds values that are not finite"),
        ({"output0": INPUTS.astype(np.int64)}, r"output0\.npy says 'int64'"),
    ],
)
def test_vectors_that_cannot_be_replayed(artifact: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    (artifact / "parity" / "output0.npy").unlink()
    write_arrays(artifact, {"input": INPUTS, **arrays})
    with pytest.raises(BadInput, match=message):
        verify(artifact)


def header(text: str) -> bytes:
    """A .npy header, format 1.0."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no array"),
        (b"\x80\x04.", "is no array"),
        (header("(" * 200), "is no array"),
        (header('"""'), "is no array"),
        (b"\x93NUMPY\x02\x00", "format 1.0 is wanted"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 2)}"), "holds 0 bytes"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 0)}"), "says 'float32' of shape"),
    ],
)
def test_headers_that_are_broken_or_claim_too_much(artifact: Path, content: bytes, message: str) -> None:
    (artifact / "parity" / "input.npy").write_bytes(content)
    list_files(artifact)
    with pytest.raises(BadInput, match=message):
        verify(artifact)


def test_an_array_that_is_too_large_is_not_read(artifact: Path) -> None:
    with (artifact / "parity" / "input.npy").open("wb") as file:
        file.truncate(2**28 + 1)
    list_files(artifact)
    with pytest.raises(BadInput, match="more than 268435456 bytes"):
        verify(artifact)


def parity_text(**changes: object) -> str:
    return json.dumps(PARITY | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this is no JSON"),
        ("[" * 100_000, "this is no JSON"),
        ("\ud800", "this is no JSON"),
        ("[]", "parity.json: .* should be"),
        ("{}", "'schema' field required"),
        (parity_text(runtime="tflite"), "'runtime' .*known: onnxruntime"),
        (parity_text(runtime=["onnxruntime"]), "'runtime' "),
        (parity_text(outputs=[]), "'outputs' "),
        (parity_text(vectors=[{}] * 65), "'vectors' "),
        (parity_text(kind="video"), "'kind' "),
        (parity_text(more=1), "'more' "),
        *(
            (parity_text(tolerance=PARITY["tolerance"] | {"output": value}), r"'tolerance\.output' ")
            for value in (1.0, 0.0, float("inf"), float("nan"), "0.05", None)
        ),
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
    ids = np.array([[0, 1, 2], [2, 2, 1]])
    said = np.array([5.0, 6.0, 8.0], np.float32)[ids]
    for mean, sound in ((said.mean(1, keepdims=True), True), (said.mean(1, keepdims=True) * 1.2, False)):
        write_arrays(folder, {"input": ids, "output0": said, "output1": mean})
        if sound:
            assert verify(folder).vectors == 2
        else:
            with pytest.raises(BadInput, match="outputs that differ by"):
                verify(folder)
