"""A small artifact of images, with an app.onnx of a few operators; loaded by tests through runpy."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgekd.artifact.vectors import Reference
from edgekd.figures import Number
from edgekd.preprocessing import Preprocessing
from edgekd.results import Candidate
from edgekd.runtimes import predict_all
from edgekd.stages.package import package

CLASSES = ("Katze", "perro", "狗", "oiseau")
IMAGES = Preprocessing(height=6, width=8, channels=3, mean=(0.4,) * 3, std=(0.25,) * 3)
PACKAGE_DEFAULTS = {
    "classes": CLASSES,
    "manifest": {
        "model": {"path": "models/net.pt2", "sha256": "a" * 64},
        "data": {"kind": "image folder", "labelled": True},
        "score_name": "accuracy",
        "target": "raspberry-pi-4",
        "versions": {"numpy": np.__version__},
    },
}


def linear(path: Path, how: Preprocessing = IMAGES) -> Path:
    """A random linear classifier of one flattened image."""
    weights = np.random.default_rng(3).standard_normal((int(np.prod(how.shape)), len(CLASSES))).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    return save(path, nodes, {"input": how.shape}, {"logits": (len(CLASSES),)}, weights=weights)


def save(path: Path, nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any], **tensors: np.ndarray) -> Path:
    def value(name: str, shape: tuple[int, ...]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *shape])

    graph = helper.make_graph(
        nodes,
        "graph",
        [value(*item) for item in inputs.items()],
        [value(*item) for item in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def make_artifact(folder: Path, model: Path | None = None, **changes: Any) -> Path:
    """The artifact in `folder`/artifact; what `package` is called with may be changed."""
    model = model or linear(folder / "m.onnx")
    score = Number(value=0.9, low=0.85, high=0.94, unit="share", word="measured", place="host", n=100)
    chosen = {"id": "x", "scheme": "fp32", "runtime": "onnxruntime", "file": "m.onnx", "sha256": "0" * 64}
    given = {
        **PACKAGE_DEFAULTS,
        **{"model": model, "chosen": Candidate.model_validate(chosen | {"score": score, "metrics": {"top5": 1.0}})},
        **{"preprocessing": IMAGES, "task": "classification", "data": None, "trained": "student"},
        "reference": Reference("PyTorch, the student in float32", lambda inputs: predict_all(model, [inputs])),
        **changes,
    }
    artifact = folder / "artifact"
    artifact.mkdir()
    package(artifact, **given)
    return artifact


def add_app(artifact: Path, how: Preprocessing = IMAGES, *, reversed_channels: bool = False) -> None:
    """An app.onnx that takes images of the model's own size alone, and lists it. Its weights are model.onnx's."""
    model = onnx.load(artifact / "model.onnx")
    [weights] = model.graph.initializer
    order = [2, 1, 0] if reversed_channels else [0, 1, 2]
    constants = {
        **{"order": np.array(order), "mean": np.float32(how.mean).reshape(3, 1, 1)},
        **{"std": np.float32(how.std).reshape(3, 1, 1), "full": np.float32(255), "best": np.array([4])},
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[2, 0, 1]),
        helper.make_node("Gather", ["planes", "order"], ["ordered"]),
        helper.make_node("Div", ["ordered", "full"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["ready"]),
        helper.make_node("Flatten", ["ready"], ["flat"], axis=0),
        helper.make_node("MatMul", ["flat", weights.name], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["shares"]),
        helper.make_node("Flatten", ["shares"], ["row"], axis=0),
        helper.make_node("TopK", ["row", "best"], ["sorted", "places"]),
        helper.make_node("Squeeze", ["sorted", "zero"], ["probabilities"]),
        helper.make_node("Squeeze", ["places", "zero"], ["indices"]),
    ]
    graph = helper.make_graph(
        nodes,
        "app",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["height", "width", 3])],
        [
            helper.make_tensor_value_info("indices", TensorProto.INT64, ["k"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["k"]),
        ],
        [weights, *(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())],
    )
    graph.initializer.append(numpy_helper.from_array(np.array([0]), "zero"))
    app = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(app, artifact / "app.onnx")
    list_again(artifact)


def keep_vectors_of_the_models_size(artifact: Path) -> None:
    """Drop the parity vectors whose raw image the small app.onnx does not take."""
    folder = artifact / "parity"
    parity = json.loads((folder / "parity.json").read_text())
    raw = [np.load(folder / f"raw{at}.npy") for at in range(len(parity["vectors"]))]
    kept = [at for at, image in enumerate(raw) if image.shape == (6, 8, 3)]
    assert kept
    parity["vectors"] = [parity["vectors"][at] for at in kept]
    (folder / "parity.json").write_text(json.dumps(parity))
    for name in ("input", "output0"):
        np.save(folder / f"{name}.npy", np.load(folder / f"{name}.npy")[kept])
    for at in range(len(raw)):
        (folder / f"raw{at}.npy").unlink()
    for at, one in enumerate(kept):
        np.save(folder / f"raw{at}.npy", raw[one])
    list_again(artifact)


def list_again(artifact: Path) -> None:
    """Write SHA256SUMS anew, as somebody would who changes an artifact on purpose."""
    files = sorted(p for p in artifact.rglob("*") if p.is_file() and p.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(artifact).as_posix()}\n" for p in files]
    (artifact / "SHA256SUMS").write_text("".join(lines))
