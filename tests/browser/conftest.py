"""Artifacts to try, small and quick to make, and what Python says of an image."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgekd.artifact.contract import Contract
from edgekd.artifact.parity.vectors import Reference
from edgekd.data.image import Fit, fit_image, open_image
from edgekd.device import load_profile
from edgekd.preprocessing import Preprocessing, normalise
from edgekd.results import Candidate
from edgekd.runtimes import predict_all
from edgekd.stages.package import package
from edgekd.workspace import file_sha256

CLASSES = ("a cat", "dog", "<img src=x onerror=alert(1)>", "fish", "horse")


def write_linear(path: Path, shape: tuple[int, ...], outputs: int) -> None:
    """A random linear model of one flattened input, whose every logit depends on every pixel."""
    inputs = int(np.prod(shape))
    weights = np.random.default_rng(3).standard_normal((inputs, outputs)).astype(np.float32) * 3 / inputs**0.5
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", *size])
        for name, size in (("input", shape), ("logits", (outputs,)))
    ]
    nodes = [
        onnx.helper.make_node("Flatten", ["input"], ["flat"]),
        onnx.helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    tensor = onnx.numpy_helper.from_array(weights, "weights")
    graph = onnx.helper.make_graph(nodes, "linear", values[:1], values[1:], [tensor])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def package_model(folder: Path, model: Path, how: Preprocessing, classes: tuple[str, ...] | None = CLASSES) -> Path:
    chosen = {"id": "x", "scheme": "fp32", "runtime": "onnxruntime", "file": "m.onnx", "sha256": "0" * 64}
    artifact = folder / "artifact"
    artifact.mkdir()
    package(
        artifact,
        model=model,
        chosen=Candidate.model_validate({**chosen, "session": {"threads": 1}}),
        preprocessing=how,
        task="detection" if len(onnx.load(model).graph.output) == 2 else "classification",
        classes=classes,
        data=None,
        reference=Reference("the file as it came", lambda inputs: predict_all(model, [inputs])),
        manifest={"target": "raspberry-pi-4"},
        profile=load_profile("raspberry-pi-4"),
        trained="control",
    )
    return artifact


@pytest.fixture
def make_artifact(tmp_path: Path) -> Callable[..., Path]:
    """`make_artifact(**settings)`: the artifact of a linear classifier of images 24 x 32, or what settings say."""

    def make(**settings: Any) -> Path:
        usual = {"height": 24, "width": 32, "channels": 3, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
        how = Preprocessing.model_validate({**usual, **settings})
        write_linear(tmp_path / "m.onnx", how.shape, len(CLASSES))
        return package_model(tmp_path, tmp_path / "m.onnx", how)

    return make


@pytest.fixture
def list_again() -> Callable[[Path], None]:
    """Write SHA256SUMS anew, as somebody would who changes an artifact on purpose."""

    def list_files(artifact: Path) -> None:
        sums = artifact / "SHA256SUMS"
        names = [line.split("  ", 1)[1] for line in sums.read_text().splitlines()]
        kept = [name for name in names if (artifact / name).is_file()]
        sums.write_text("".join(f"{file_sha256(artifact / name)}  {name}\n" for name in kept))

    return list_files


@pytest.fixture
def python_says() -> Callable[[Path, Path], dict[str, float]]:
    """`python_says(artifact, image)`: class to probability in per cent, by Pillow, numpy and ONNX Runtime."""

    def ask(artifact: Path, image: Path) -> dict[str, float]:
        how = Contract.model_validate_json((artifact / "preprocess.json").read_text())
        fit = Fit(how.height or 0, how.width or 0, how.channels or 0, how.resize, how.crop)
        ready = normalise(fit_image(open_image(image), fit)[None], how)
        logits = predict_all(artifact / "model.onnx", [ready])[0][0].astype(np.float64)
        powers = np.exp(logits - logits.max())
        labels = (artifact / "labels.txt").read_text().splitlines()
        return dict(zip(labels, (100 * powers / powers.sum()).tolist(), strict=True))

    return ask
