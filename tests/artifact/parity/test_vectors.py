"""Parity vectors as they are written: what they come from, and what is said of them."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

import edgekd
from edgekd.artifact.contract import Contract, Licences, Source, contract_of
from edgekd.artifact.parity.files import read_parity, read_tensors
from edgekd.artifact.parity.vectors import Reference, write_parity
from edgekd.errors import BadInput, PlaceLost
from edgekd.preprocessing import Preprocessing, Tokens
from edgekd.results import Candidate
from edgekd.runtimes import predict_all

making = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "making.py")))
FP32 = {"id": "x", "scheme": "fp32", "runtime": "onnxruntime", "file": "m.onnx", "sha256": "0" * 64}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where an artifact begins: model.onnx and the contract."""
    made = making.make_artifact(tmp_path)
    out = tmp_path / "begun"
    out.mkdir()
    for name in ("model.onnx", "preprocess.json"):
        (out / name).write_bytes((made / name).read_bytes())
    return out


def write(folder: Path, reference: Any = None, **more: Any) -> tuple[str, ...]:
    contract = Contract.model_validate_json((folder / "preprocess.json").read_bytes())
    reference = reference or (lambda inputs: predict_all(folder / "model.onnx", [inputs]))
    chosen = Candidate.model_validate(FP32)
    return write_parity(folder, contract, chosen=chosen, reference=Reference("numpy", reference), data=None, **more)


def test_expected_outputs_are_the_references_and_not_the_shipped_files(folder: Path) -> None:
    def slightly_other(inputs: np.ndarray) -> list[np.ndarray]:
        return [predict_all(folder / "model.onnx", [inputs])[0] * np.float32(1.01)]

    assert write(folder, slightly_other) == ()
    parity = read_parity(folder)
    inputs, [expected] = read_tensors(folder, parity)
    shipped = predict_all(folder / "model.onnx", [inputs])[0]
    assert parity.reference == "numpy"
    assert np.array_equal(expected, shipped * np.float32(1.01))
    top = np.exp(expected - expected.max(1, keepdims=True))
    shares = (top / top.sum(1, keepdims=True)).max(1)
    assert [vector.probabilities[0] for vector in parity.vectors] == pytest.approx(shares, abs=1e-5)


def test_the_tolerance_covers_the_targets_kernels_and_what_they_answer_otherwise_is_dropped(folder: Path) -> None:
    write(folder)
    before = read_parity(folder)
    for path in (folder / "parity").iterdir():
        path.unlink()
    (folder / "parity").rmdir()

    def emulated(model: Path, inputs: np.ndarray) -> list[np.ndarray]:
        said = predict_all(model, [inputs])[0] * np.float32(1.04)
        said[2] = -said[2]
        return [said]

    write(folder, emulated=emulated)
    after = read_parity(folder)
    assert after.vectors == (*before.vectors[:2], *before.vectors[3:])
    assert before.tolerance.output == 0.05 and after.tolerance.output == pytest.approx(0.08, abs=1e-3)


def test_a_core_that_cannot_run_the_model_is_told_and_one_that_is_lost_ends_the_run(folder: Path) -> None:
    def fails(error: Exception) -> Any:
        def emulated(model: Path, inputs: np.ndarray) -> list[np.ndarray]:
            raise error

        return emulated

    with pytest.raises(PlaceLost):
        write(folder, emulated=fails(PlaceLost("the kit is gone")))
    [note] = write(folder, emulated=fails(BadInput(f"{folder / 'model.onnx'}: opset 30 is too new.")))
    assert note.endswith("the target's core fails: model.onnx: opset 30 is too new.")
    assert len(read_parity(folder).vectors) == 8


def test_a_mistake_that_no_vector_catches_is_told(folder: Path) -> None:
    """Weights that are the same for each channel take red for blue."""
    model = onnx.load(folder / "model.onnx")
    grey = np.tile(np.random.default_rng(0).standard_normal((48, 4)), (3, 1)).astype(np.float32)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(grey, "weights"))
    onnx.save(model, folder / "model.onnx")
    [note] = write(folder)
    assert note == "Parity vectors do not catch an app that feeds or names wrongly: channels reversed."


@pytest.mark.parametrize("alike", [False, True])
def test_ids_shifted_by_one_are_told_where_neighbours_mean_the_same(folder: Path, alike: bool) -> None:
    text = Tokens(file="tokenizer.json", sha256="", length=6, pad=9)
    how = Preprocessing(identity=True, input_shape=(6,), dtype="int64", tokens=text)
    source, outputs = Source(target="nothing", shipped="a table"), {"logits": (4,)}
    contract = contract_of(
        how, task="classification", classes=making.CLASSES, outputs=outputs, licences=Licences(), source=source
    )
    (folder / "preprocess.json").write_text(contract.as_json())
    rows = "{3, 0, 0, 0, 3, 0, 0, 0}" if alike else "{3, 0, 0, 0, 0, 0, 3, 0}"
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["": 17]> words (int64[1, 6] input) => (float[1, 4] logits) '
        f"<float[2, 4] table = {rows}> "
        "{ vectors = Gather(table, input) logits = ReduceMean<axes = [1], keepdims = 0>(vectors) }"
    )
    onnx.save(model, folder / "model.onnx")
    shifted = "Parity vectors do not catch an app that feeds or names wrongly: token ids shifted by one."
    assert write(folder) == ((shifted,) if alike else ())


def test_where_the_two_agree_on_nothing_the_vectors_hold_outputs_alone(folder: Path) -> None:
    def another(inputs: np.ndarray) -> list[np.ndarray]:
        return [np.roll(predict_all(folder / "model.onnx", [inputs])[0], 1, axis=1)]

    *_, note = write(folder, another)
    assert "outputs alone" in note
    described = json.loads((folder / "parity" / "parity.json").read_text())
    assert described["answer"] == "outputs" and described["vectors"] == [{}] * 8


def test_numbers_and_sounds(tmp_path: Path) -> None:
    how = Preprocessing(identity=True, input_shape=(100,), sample_rate=8000)
    artifact = making.make_artifact(tmp_path, making.linear(tmp_path / "m.onnx", how), preprocessing=how)
    parity = read_parity(artifact)
    assert parity.kind == "sound" and {np.load(artifact / "parity" / f"raw{at}.npy").ndim for at in range(8)} == {1}
    assert edgekd.verify(artifact).vectors == 8
    (tmp_path / "other").mkdir()
    options = {"preprocessing": how, "task": "regression", "classes": None}
    artifact = making.make_artifact(tmp_path / "other", tmp_path / "m.onnx", **options)
    assert read_parity(artifact).answer == "outputs" and "app.onnx" in edgekd.verify(artifact).graphs
    assert not (artifact / "labels.txt").exists()
