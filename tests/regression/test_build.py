"""What a path names to the gate, and the sentence for each way in which it is broken."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from edgekd.errors import BadInput
from edgekd.regression.build import open_build

runs = runpy.run_path(str(Path(__file__).parent / "sample_runs.py"))


def refused(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        open_build(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_run_has_figures_and_the_model_of_its_artifact(tmp_path: Path) -> None:
    run = runs["write_run"](tmp_path / "run", extra=0)
    whole, results, artifact = (open_build(run / part) for part in ("", "report/results.json", "artifact"))
    assert whole.model == run / "artifact" / "model.onnx" and artifact.model == whole.model
    assert results.model is None
    for build in (whole, results, artifact):
        assert build.figures is not None and build.figures.size_kib == 261
        assert (build.target, build.source, build.test) == ("raspberry-pi-4", "ab" * 32, "t" * 64)
        assert (build.runtime, build.edgekd, build.operators) == ("onnxruntime", "0.1.0", {"QLinearConv": 54})
        assert build.session == {"threads": 4, "prepacking": False}


def test_an_onnx_file_knows_only_itself(tmp_path: Path) -> None:
    build = open_build(runs["write_net"](tmp_path / "m.onnx"))
    assert (build.model, build.figures, build.target) == (tmp_path / "m.onnx", None, None)


def test_a_model_that_its_records_are_not_about_is_refused(tmp_path: Path) -> None:
    run = runs["write_run"](tmp_path / "run", extra=0)
    runs["write_net"](run / "artifact" / "model.onnx", extra=2)
    assert "has changed since it was packaged" in refused(run)
    assert "has changed since it was packaged" in refused(run / "artifact")


@pytest.mark.parametrize("kept", [0, 1, 1000, -1])
def test_results_that_were_cut_off_are_refused(tmp_path: Path, kept: int) -> None:
    file = runs["write_run"](tmp_path / "run") / "report" / "results.json"
    file.write_bytes(file.read_bytes()[:kept])
    assert "results.json: this is no JSON, or not the whole of it (" in refused(tmp_path / "run")


def test_results_of_another_version_say_so(tmp_path: Path) -> None:
    file = runs["write_run"](tmp_path / "run") / "report" / "results.json"
    newer = json.loads(file.read_text()) | {"edgekd": "9.0.0", "surprise": 1}
    file.write_text(json.dumps(newer))
    assert "'surprise'" in refused(file) and "written by edgekd '9.0.0', and this is" in refused(file)
    file.write_text(json.dumps(newer | {"schema": 2}))
    assert "'schema' input should be 1" in refused(file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "cannot be read as JSON"),
        ("[]", "holds no mapping"),
        ("{}", "'candidate'"),
        ('{"candidate": {"id": 3}}', "'candidate'"),
        ("[" * 100_000, "cannot be read as JSON"),
    ],
)
def test_a_broken_manifest_is_refused(tmp_path: Path, content: str, said: str) -> None:
    artifact = runs["write_run"](tmp_path / "run", extra=0) / "artifact"
    (artifact / "manifest.json").write_text(content)
    assert said in refused(artifact)


@pytest.mark.parametrize("change", [{"files": 3}, {"model": "m"}, {"data": [1]}, {"versions": 1.5}])
def test_a_manifest_with_values_of_other_kinds_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    artifact = runs["write_run"](tmp_path / "run", extra=0) / "artifact"
    file = artifact / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert "is no mapping" in refused(artifact)


@pytest.mark.parametrize("target", ["../../etc/board.yaml", "/tmp/x.yml", "a b", "", "pi\n::error::"])
def test_a_target_that_is_no_devices_name_is_refused(tmp_path: Path, target: str) -> None:
    run = runs["write_run"](tmp_path / "run", runs["sample_report"](target=target), extra=0)
    assert "no device's name" in refused(run)
    assert "no device's name" in refused(run / "artifact")


def test_what_is_nothing_of_these_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "nowhere")
    assert "holds no report/results.json" in refused(tmp_path)
    (tmp_path / "weights.pt").write_bytes(b"PK")
    assert "weights.pt is no results.json and no ONNX file" in refused(tmp_path / "weights.pt")
    shipped_nothing = runs["sample_report"]().model_copy(update={"models": {"shipped": None}})
    assert "'models.shipped' is null" in refused(runs["write_run"](tmp_path / "none", shipped_nothing))
