"""preprocess.json: all that an app must know, and the same in the graph that it loads."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgekd import external_data
from edgekd.artifact.contract import Contract
from edgekd.runtimes import predict_all
from edgekd.version import __version__

making = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("making.py"))))


def test_it_names_labels_shapes_meanings_licences_and_the_source(tmp_path: Path) -> None:
    artifact = making.make_artifact(tmp_path)
    found = json.loads((artifact / "preprocess.json").read_text(encoding="utf-8"))
    assert found["schema"] == 1 and (found["task"], found["kind"], found["answer"]) == (
        "classification",
        "image",
        "classes",
    )
    assert tuple(found["labels"]) == making.CLASSES and found["probabilities"] == "softmax" and found["boxes"] is None
    assert found["inputs"][0]["shape"] == [1, 3, 6, 8] and found["outputs"][0]["name"] == "logits"
    assert found["licences"]["teacher"]["id"] == "unknown"
    assert found["source"] == {
        **{"edgekd": __version__, "model_sha256": "a" * 64, "target": "raspberry-pi-4"},
        "shipped": "the distilled student as fp32 for onnxruntime",
    }
    assert Contract.model_validate(found).label(2) == "狗"


def test_the_graph_holds_the_same_and_computes_the_same(tmp_path: Path) -> None:
    artifact = making.make_artifact(tmp_path)
    contract = json.loads((artifact / "preprocess.json").read_text(encoding="utf-8"))
    for name in ("app.onnx", "model.onnx"):
        model = onnx.load(artifact / name)
        [entry] = [one for one in model.metadata_props if one.key == "edgekd"]
        assert json.loads(entry.value) == contract
    inputs = np.random.default_rng(0).standard_normal((3, 3, 6, 8)).astype(np.float32)
    came, ships = (predict_all(path, [inputs])[0] for path in (tmp_path / "m.onnx", artifact / "model.onnx"))
    assert np.array_equal(came, ships)
    del model.metadata_props[:]
    assert model.SerializeToString() == onnx.load(tmp_path / "m.onnx").SerializeToString()
    manifest = json.loads((artifact / "manifest.json").read_text())
    assert manifest["candidate"]["size_kib"] == round((artifact / "model.onnx").stat().st_size / 1024, 1)


def test_the_same_run_makes_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    one, other = (making.make_artifact(tmp_path / name) for name in ("one", "other"))
    files = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert [name for name in files if (one / name).read_bytes() != (other / name).read_bytes()] == []


def test_weights_beside_the_graph_stay_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external_data, "ONE_FILE", 1000)
    model = onnx.load(making.linear(tmp_path / "small.onnx"))
    model.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(np.random.default_rng(0).standard_normal((144, 4)).astype(np.float32), "weights")
    )
    monkeypatch.setattr(external_data, "PAGE", 256)
    external_data.write_onnx(tmp_path / "m.onnx", model)
    assert (tmp_path / "m.onnx.data").is_file()
    artifact = making.make_artifact(tmp_path, tmp_path / "m.onnx")
    assert (artifact / "model.onnx.data").read_bytes() == (tmp_path / "m.onnx.data").read_bytes()
    assert "edgekd" in {entry.key for entry in onnx.load(artifact / "model.onnx").metadata_props}
    bill = json.loads((artifact / "sbom.cdx.json").read_text())
    assert "model.onnx.data" in [part["name"] for part in bill["metadata"]["component"]["components"]]
