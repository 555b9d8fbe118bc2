"""The whole artifact: its sample in Python predicts what the pipeline does, and its README says what is in it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from edgekd.artifact.parity.files import read_parity, read_raw, read_tensors
from edgekd.artifact.parity.vectors import Reference
from edgekd.data.image import Fit, fit_image, open_image
from edgekd.device import load_profile
from edgekd.figures import Number
from edgekd.preprocessing import Preprocessing, normalise
from edgekd.results import Candidate
from edgekd.runtimes import predict_all
from edgekd.stages.package import package
from edgekd.verification import verify

CLASSES = ("a cat", "dog", "<b>bird</b>", "fish", "horse")


def write_linear(path: Path, shape: tuple[int, ...], outputs: int, name: str = "logits") -> None:
    """A random linear model of one flattened input."""
    weights = np.random.default_rng(3).standard_normal((int(np.prod(shape)), outputs)).astype(np.float32)
    values = [
        onnx.helper.make_tensor_value_info(one, onnx.TensorProto.FLOAT, [1, *size])
        for one, size in (("input", shape), (name, (outputs,)))
    ]
    nodes = [
        onnx.helper.make_node("Flatten", ["input"], ["flat"]),
        onnx.helper.make_node("MatMul", ["flat", "weights"], [name]),
    ]
    tensor = onnx.numpy_helper.from_array(weights, "weights")
    graph = onnx.helper.make_graph(nodes, "linear", values[:1], values[1:], [tensor])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def make_artifact(folder: Path, how: Preprocessing, *, name: str = "logits", **changes: Any) -> Path:
    classes = CLASSES if name == "logits" else None
    write_linear(folder / "m.onnx", how.shape, len(CLASSES), name)
    latency = Number(value=12.3, low=8.0, high=20.0, unit="ms", word="estimated", place="raspberry-pi-4")
    chosen = {
        **{"id": "x", "scheme": "int8_static", "runtime": "onnxruntime", "file": "m.onnx", "sha256": "0" * 64},
        **{"latency_p50_ms": latency, "session": {"threads": 4}},
        **changes,
    }
    artifact = folder / "artifact"
    artifact.mkdir()
    package(
        artifact,
        model=folder / "m.onnx",
        chosen=Candidate.model_validate(chosen),
        preprocessing=how,
        task="classification" if classes else "generic",
        classes=classes,
        data=None,
        reference=Reference("the file as it came", lambda inputs: predict_all(folder / "m.onnx", [inputs])),
        manifest={"target": "raspberry-pi-4"},
        profile=load_profile("raspberry-pi-4"),
        trained="control",
    )
    return artifact


def run_program(artifact: Path, argument: Path) -> str:
    words = [sys.executable, artifact / "samples" / "python" / "predict.py", artifact, argument]
    done = subprocess.run(words, cwd=artifact.parent, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip()


def best_label(artifact: Path, argument: Path) -> str:
    return run_program(artifact, argument).splitlines()[0].split(" ", 1)[1]


def images(**settings: Any) -> Preprocessing:
    grey = settings.get("channels") == 1
    usual = {"mean": (0.5,) if grey else (0.485, 0.456, 0.406), "std": (0.25,) if grey else (0.229, 0.224, 0.225)}
    return Preprocessing.model_validate({"height": 24, "width": 32, "channels": 3, **usual, **settings})


@pytest.mark.parametrize(
    "how",
    [
        images(),
        images(crop=0.875, resize="bicubic"),
        images(crop=0.8, height=32, order="bgr"),
        images(channels=1, scale="0..255"),
    ],
    ids=["plain", "crop, bicubic", "crop, bgr", "grey, 0..255"],
)
@pytest.mark.parametrize("size", [(61, 47), (40, 90), (32, 24)], ids=str)
def test_the_program_predicts_what_the_pipeline_does(tmp_path: Path, how: Preprocessing, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    artifact = make_artifact(tmp_path, how)
    fit = Fit(how.height or 0, how.width or 0, how.channels or 0, how.resize, how.crop)
    ready = normalise(fit_image(open_image(tmp_path / "photo.png"), fit)[None], how)
    logits = predict_all(artifact / "model.onnx", [ready])[0]
    assert best_label(artifact, tmp_path / "photo.png") == CLASSES[int(logits.argmax())]


@pytest.mark.parametrize("how", [images(height=40), images(crop=0.7, resize="bicubic", channels=1)], ids=["", "crop"])
def test_the_raw_images_tell_whether_a_program_prepares_images_rightly(tmp_path: Path, how: Preprocessing) -> None:
    artifact = make_artifact(tmp_path, how)
    parity = read_parity(artifact)
    inputs, [logits] = read_tensors(artifact, parity)
    raw = read_raw(artifact, parity)
    assert len({image.shape for image in raw}) > 2
    fit = Fit(how.height or 0, how.width or 0, how.channels or 0, how.resize, how.crop)
    for at, (image, vector) in enumerate(zip(raw, parity.vectors, strict=True)):
        assert np.array_equal(normalise(fit_image(image, fit)[None], how)[0], inputs[at])
        assert vector.labels[0] == CLASSES[int(logits[at].argmax())]
        Image.fromarray(image.squeeze()).save(tmp_path / "photo.png")
        assert at or best_label(artifact, tmp_path / "photo.png") == vector.labels[0]
    assert verify(artifact).vectors == len(raw) == 8


@pytest.mark.parametrize(
    "how", [Preprocessing(identity=True, input_shape=(6, 2)), images(channels=4, mean=(0.5,) * 4, std=(0.25,) * 4)]
)
def test_inputs_that_are_no_image_files_come_as_arrays(tmp_path: Path, how: Preprocessing) -> None:
    sample = np.random.default_rng(0).standard_normal(how.shape).astype(np.float32)
    np.save(tmp_path / "sample.npy", sample)
    artifact = make_artifact(tmp_path, how, name="output`|<b>")
    assert not (artifact / "app.onnx").exists()
    expected = predict_all(artifact / "model.onnx", [sample[None]])[0]
    said = np.array(run_program(artifact, tmp_path / "sample.npy").split(), float)
    assert said == pytest.approx(expected[0], rel=1e-4)
    parity = read_parity(artifact)
    assert parity.kind == "array" and parity.answer == "outputs"
    assert np.array_equal(np.stack(read_raw(artifact, parity)), read_tensors(artifact, parity)[0])
    readme = (artifact / "README.md").read_text()
    assert f"of shape {how.shape}" in readme
    assert "<b>" not in readme


@pytest.mark.slow
def test_openvino_may_be_the_runtime(tmp_path: Path) -> None:
    """The samples run the same file in ONNX Runtime; the README has the settings for OpenVINO."""
    pytest.importorskip("openvino")
    Image.new("RGB", (50, 50), (200, 30, 90)).save(tmp_path / "photo.png")
    artifact = make_artifact(tmp_path, images(), runtime="openvino")
    assert best_label(artifact, tmp_path / "photo.png") in CLASSES
    readme = (artifact / "README.md").read_text()
    assert '"INFERENCE_PRECISION_HINT": "f32"' in readme  # else it would be bf16 where the CPU has that


def test_the_precision_that_ships_is_in_the_readme_and_beside_the_vectors(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    session = {"threads": 2, "INFERENCE_PRECISION_HINT": "bf16"}
    artifact = make_artifact(tmp_path, images(), runtime="openvino", session=session)
    assert '{"INFERENCE_NUM_THREADS": 2, "INFERENCE_PRECISION_HINT": "bf16"}' in (artifact / "README.md").read_text()
    parity = json.loads((artifact / "parity" / "parity.json").read_text())
    assert parity["session"] == {"INFERENCE_PRECISION_HINT": "bf16"}
    assert verify(artifact).runtime == "openvino"


def test_the_readme_says_what_ships_where_and_at_what_cost(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path, images())
    readme = (artifact / "README.md").read_text()
    assert "This is the control, trained without the teacher, as int8_static for onnxruntime" in readme
    assert "made for `raspberry-pi-4`" in readme
    assert "Latency: 12.3 ms [8.0, 20.0] estimated for raspberry-pi-4, 4 threads." in readme
    assert "90 % intervals" in readme
    assert "| output | logits | float32 | 1 x 5: one per class |" in readme
    assert "\n\n\n" not in readme
    for name in [
        *(path.name for path in artifact.iterdir()),
        *(f"samples/{x.name}" for x in (artifact / "samples").iterdir()),
    ]:
        assert name in readme or name == "README.md", name
    manifest = json.loads((artifact / "manifest.json").read_text())
    assert manifest["shipped"] == "the control, trained without the teacher, as int8_static for onnxruntime"


def test_the_program_runs_the_session_that_was_chosen(tmp_path: Path) -> None:
    session = {
        **{"threads": 2, "arena": False, "memory_pattern": False, "prepacking": False, "file": "model.ort"},
        "session.use_memory_mapped_ort_model": "1",
    }
    how = Preprocessing(identity=True, input_shape=(6,))
    artifact = make_artifact(tmp_path, how, session=session)
    assert "  model.ort\n" in (artifact / "SHA256SUMS").read_text()
    assert json.loads((artifact / "manifest.json").read_text())["candidate"]["session"] == session
    readme = (artifact / "README.md").read_text()
    assert "| `app.ort`, `model.ort` | the same in ONNX Runtime's own format, optimised for AArch64" in readme
    assert "2 threads, arena off, memory pattern off, prepacking off, model.ort, memory mapping on" in readme
    program = (artifact / "samples" / "python" / "predict.py").read_text()
    assert 'add_session_config_entry("session.use_memory_mapped_ort_model", "1")' in program
    sample = np.random.default_rng(0).standard_normal(6).astype(np.float32)
    np.save(tmp_path / "sample.npy", sample)
    label = CLASSES[int(predict_all(artifact / "model.onnx", [sample[None]])[0].argmax())]
    assert best_label(artifact, tmp_path / "sample.npy") == label
