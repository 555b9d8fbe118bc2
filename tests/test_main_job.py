"""The main job, run by the command line on a CNN that was really trained: what it leaves behind, and what it says."""

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import yaml

from edgekd.results import Report

pytestmark = pytest.mark.slow

PINNED_KEYS = {
    *("schema", "edgekd", "verdict", "exit_code", "target", "model", "splits", "seed", "command", "environment"),
    *("models", "candidates", "budgets", "fallbacks", "warnings"),
}


@pytest.fixture(scope="module")
def results(finished_run: Path) -> dict:
    return json.loads((finished_run / "report" / "results.json").read_text())


def test_the_run_folder_holds_what_the_design_says(finished_run: Path) -> None:
    for name in (
        "model.onnx",
        "preprocess.json",
        "labels.txt",
        "README.md",
        "manifest.json",
        "SHA256SUMS",
        "sbom.cdx.json",
    ):
        assert (finished_run / "artifact" / name).is_file(), name
    for name in ("report.html", "report.md", "results.json", "junit.xml"):
        assert (finished_run / "report" / name).stat().st_size > 0
    assert yaml.safe_load((finished_run / "recipe.yaml").read_text())["target"] == "raspberry-pi-4"
    assert "teacher scores" in (finished_run / "stages" / "load" / "log.txt").read_text()
    raw = json.loads((finished_run / "bench" / "teacher.json").read_text())
    assert len(raw["samples_ms"]) >= 50
    assert raw["environment"]["cpu"]
    stages = {path.name for path in (finished_run / "stages").iterdir()}
    assert stages == {"load", "distill", "export", "quantize", "benchmark", "choose", "configure", "package"}
    assert not list(finished_run.rglob("*.partial")) + list(finished_run.rglob("*.tmp"))


def test_results_have_the_pinned_keys_and_read_back(results: dict) -> None:
    assert set(results) >= PINNED_KEYS
    report = Report.model_validate(results)
    assert report.exit_code == 0
    assert set(results["models"]) == {"teacher", "control", "student", "shipped"}
    for figures in results["models"].values():
        assert set(figures) >= {"score", "metrics", "macs", "params", "size_kib", "latency_p50_ms", "latency_p95_ms"}
        assert figures["score"]["word"] == "measured"
        assert figures["latency_p50_ms"]["word"] == "estimated"
        assert figures["latency_p50_ms"]["low"] < figures["latency_p50_ms"]["value"] < figures["latency_p50_ms"]["high"]
        assert figures["host"]["latency"]["p50_ms"]["word"] == "measured"


def test_the_student_has_at_most_half_of_the_macs(results: dict) -> None:
    teacher, student, control = (results["models"][who] for who in ("teacher", "student", "control"))
    assert student["macs"] <= 0.5 * teacher["macs"]
    assert student["macs"] == control["macs"]


def test_every_candidate_has_a_reason_and_one_ships(results: dict) -> None:
    assert {c["scheme"] for c in results["candidates"]} >= {"fp32", "int8_static"}
    assert [c["chosen"] for c in results["candidates"]].count(True) == 1
    assert all(c["reason"] for c in results["candidates"])
    static = next(c for c in results["candidates"] if c["scheme"] == "int8_static")
    assert static["sqnr_db"] > 10


def test_the_splits_never_overlap(finished_run: Path, results: dict) -> None:
    data = finished_run / "stages" / "load" / "data"
    images = {name: np.load(data / f"{name}_inputs.npy") for name in ("train", "val", "test")}
    seen = [image.tobytes() for split in images.values() for image in split]
    assert len(seen) == len(set(seen))
    assert results["splits"]["counts"] == {name: len(split) for name, split in images.items()}
    assert results["splits"]["counts"]["test"] == 90


def test_the_shipped_score_is_that_of_the_shipped_file(finished_run: Path, results: dict) -> None:
    data = finished_run / "stages" / "load" / "data"
    how = json.loads((finished_run / "artifact" / "preprocess.json").read_text())
    images, labels = np.load(data / "test_inputs.npy"), np.load(data / "test_labels.npy")
    session = onnxruntime.InferenceSession(finished_run / "artifact" / "model.onnx")
    inputs = (images / 255 - np.array(how["mean"])) / np.array(how["std"])
    answers = [session.run(["logits"], {"input": x.transpose(2, 0, 1)[None].astype(np.float32)})[0] for x in inputs]
    accuracy = float((np.concatenate(answers).argmax(1) == labels).mean())
    assert accuracy == pytest.approx(results["models"]["shipped"]["score"]["value"], abs=1e-9)


def test_the_artifact_is_static_named_and_inside_the_devices_ceiling(finished_run: Path, results: dict) -> None:
    from edgekd.device import resolve

    model = onnx.load(finished_run / "artifact" / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    ceiling = resolve("raspberry-pi-4").profile.runtimes["onnxruntime"]
    assert model.opset_import[0].version <= ceiling.max_opset
    assert model.ir_version <= ceiling.max_ir
    assert [v.name for v in model.graph.input] == ["input"]
    assert [v.name for v in model.graph.output] == ["logits"]
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 24, 32]


def test_the_artifact_verifies_and_a_flipped_byte_does_not(finished_run: Path, tmp_path: Path, edgekd) -> None:
    import shutil

    copy = tmp_path / "artifact"
    shutil.copytree(finished_run / "artifact", copy)
    assert edgekd("verify", copy).returncode == 0
    model = bytearray((copy / "model.onnx").read_bytes())
    model[len(model) // 2] ^= 1
    (copy / "model.onnx").write_bytes(model)
    changed = edgekd("verify", copy)
    assert changed.returncode == 3
    assert "'model.onnx' has changed" in changed.stderr


def test_confusion_adds_up_to_recall_and_every_device_is_estimated(results: dict) -> None:
    confusion = results["confusion"]
    assert confusion["samples"] == dict.fromkeys(results["classes"], 30)
    for name, recall in results["per_class"].items():
        missed = sum(pair["shipped"] for pair in confusion["pairs"] if pair["truth"] == name)
        assert missed == round(30 * (1 - recall["shipped"]))
    assert all(pair["teacher"] is not None for pair in confusion["pairs"])
    here = next(one for one in results["devices"] if one["target"] == "raspberry-pi-4")
    assert here["latency_ms"]["value"] == results["models"]["shipped"]["latency_p95_ms"]["value"]
    assert len(results["devices"]) > 15
    assert datetime.fromisoformat(results["finished"]).tzinfo is not None


def test_which_student_ships_is_said_in_the_headline_and_the_artifact(finished_run: Path, results: dict) -> None:
    who = {"student": "the distilled student", "control": "the control, trained without the teacher,"}
    said = who[results["distillation"]["shipped"]]
    assert f"Shipped: {said} as " in results["headline"]
    assert f"This is {said} as " in (finished_run / "artifact" / "README.md").read_text()
    assert json.loads((finished_run / "artifact" / "manifest.json").read_text())["shipped"].startswith(said)


def test_the_drop_that_ships_has_a_paired_interval(results: dict) -> None:
    drop, models = results["models"]["shipped"]["drop"], results["models"]
    assert drop["value"] == pytest.approx(models["teacher"]["score"]["value"] - models["shipped"]["score"]["value"])
    assert drop["low"] <= drop["value"] <= drop["high"]


def test_the_control_is_judged(results: dict) -> None:
    judged = results["distillation"]
    assert judged["shipped"] in ("student", "control")
    assert judged["gain"]["low"] <= judged["gain"]["value"] <= judged["gain"]["high"]
    assert (judged["gain"]["value"] >= 0) == (judged["shipped"] == "student")
    assert set(judged["curves"]) == {"student", "control"}


def test_a_second_call_redoes_nothing(finished_run: Path, edgekd, trained_pt2: Path, stripes_folder: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (finished_run / "stages").rglob("done.json")}
    again = edgekd(
        *("compress", trained_pt2, "--target", "raspberry-pi-4", "--data", stripes_folder, "--out", finished_run),
        *("--epochs", 3, "--batch-size", 32, "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5"),
    )
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("taken over from the earlier run") == 8
    assert {p: p.stat().st_mtime_ns for p in (finished_run / "stages").rglob("done.json")} == before


def test_an_estimate_decides_a_budget_only_when_allowed(finished_run: Path, edgekd) -> None:
    for budget, extra, code in [
        ("latency=1s", (), 5),
        ("latency=1s", ("--allow-estimate",), 0),
        ("latency=1us", ("--allow-estimate",), 1),
        ("size=1GiB", (), 0),
        ("size=1KiB", (), 1),
    ]:
        judged = edgekd("gate", finished_run, "--budget", budget, *extra)
        assert judged.returncode == code, (budget, extra, judged.stdout, judged.stderr)


def test_bench_predict_and_report_take_the_run_folder(finished_run: Path, edgekd) -> None:
    bench = json.loads(edgekd("bench", finished_run, "--seconds", 0.2, "--json").stdout)
    assert bench["schema"] == 1
    assert {"model", "place", "environment", "latency", "load_ms", "first_ms", "memory", "instructions"} <= set(bench)
    predicted = json.loads(edgekd("predict", finished_run, "--json").stdout)
    assert {p["target"] for p in predicted["predictions"]} >= {"raspberry-pi-4", "raspberry-pi-5", "intel-n100"}
    html = finished_run / "report" / "report.html"
    before = html.read_text()
    html.unlink()
    assert edgekd("report", finished_run).returncode == 0
    assert html.read_text() == before


def test_the_oldest_and_the_newest_runtime_give_the_parity_answer(finished_run: Path, old_runtimes) -> None:
    graphs = dict.fromkeys(("model.onnx", "model.ort", "app.onnx", "app.ort", "sample"), True)
    for version, found in old_runtimes(finished_run / "artifact").items():
        assert found == graphs, version


def test_the_samples_answer_as_training_did(finished_run: Path, answers_everywhere) -> None:
    answers_everywhere(finished_run / "artifact")
