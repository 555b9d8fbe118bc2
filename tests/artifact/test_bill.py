"""The bill of materials: what CycloneDX's own validator says, and what is in it."""

import hashlib
import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from edgekd.artifact.contract import Licence, Licences
from edgekd.artifact.licences import Carried

making = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("making.py"))))


def bill_of(artifact: Path) -> dict[str, Any]:
    text = (artifact / "sbom.cdx.json").read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_card_says_what_goes_in_and_out_and_how_well_it_does(tmp_path: Path) -> None:
    bill = bill_of(making.make_artifact(tmp_path))
    assert bill["specVersion"] == "1.6" and "serialNumber" not in bill and "timestamp" not in bill["metadata"]
    card = bill["metadata"]["component"]["modelCard"]
    parameters = card["modelParameters"]
    assert parameters["task"] == "classification" and parameters["datasets"] == [{"ref": "data"}]
    assert [one["format"].split(":")[0] for one in parameters["inputs"]] == ["float32 1 x 3 x 6 x 8"]
    assert [one["format"].split(":")[0] for one in parameters["outputs"]] == ["float32 1 x 4"]
    accuracy, top5 = card["quantitativeAnalysis"]["performanceMetrics"]
    assert (accuracy["type"], accuracy["value"]) == ("accuracy", "0.9")
    assert accuracy["confidenceInterval"] == {"lowerBound": "0.85", "upperBound": "0.94"}
    assert top5 == {"type": "top5", "value": "1"}


def test_licences_of_teacher_data_and_student(tmp_path: Path) -> None:
    licences = Licences(teacher=Licence(id="MIT"), data=Licence(id="CC-BY-4.0 OR MIT"), student=Licence(id="our own"))
    bill = bill_of(making.make_artifact(tmp_path, licences=Carried(licences, {})))
    parts = {part["bom-ref"]: part for part in bill["components"]}
    assert parts["teacher"]["licenses"] == [{"license": {"id": "MIT"}}]
    assert parts["teacher"]["name"] == "net.pt2" and parts["teacher"]["hashes"][0]["content"] == "a" * 64
    assert parts["data"]["licenses"] == [{"expression": "CC-BY-4.0 OR MIT"}]
    assert parts["data"]["type"] == "data"
    assert bill["metadata"]["component"]["licenses"] == [{"license": {"name": "our own"}}]


def test_what_nobody_says_is_called_unknown(tmp_path: Path) -> None:
    manifest = {"target": "raspberry-pi-4"}
    bill = bill_of(making.make_artifact(tmp_path, manifest=manifest))
    [teacher] = bill["components"]
    assert teacher["licenses"] == [{"license": {"name": "unknown"}}]
    assert "datasets" not in bill["metadata"]["component"]["modelCard"]["modelParameters"]


def test_the_hashes_are_those_of_the_graphs(tmp_path: Path) -> None:
    artifact = making.make_artifact(tmp_path)
    component = bill_of(artifact)["metadata"]["component"]
    found = {part["name"]: part["hashes"][0]["content"] for part in (component, *component["components"])}
    graphs = ("model.onnx", "model.ort", "app.onnx", "app.ort")
    assert found == {name: hashlib.sha256((artifact / name).read_bytes()).hexdigest() for name in graphs}
    assert component["name"] == "model.onnx"
