"""A small artifact of images; loaded by tests through runpy."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgekd.artifact.app.graph import write_app
from edgekd.artifact.contract import Contract
from edgekd.artifact.parity.vectors import Reference
from edgekd.device import load_profile
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
        **{"profile": load_profile("raspberry-pi-4"), "max_opset": 17},
        "reference": Reference("PyTorch, the student in float32", lambda inputs: predict_all(model, [inputs])),
        **changes,
    }
    artifact = folder / "artifact"
    artifact.mkdir()
    package(artifact, **given)
    return artifact


def spoil_app(artifact: Path, **changes: Any) -> None:
    """An app.onnx by another contract, listed, without the one in ONNX Runtime's own format."""
    contract = Contract.model_validate_json((artifact / "preprocess.json").read_bytes())
    write_app(artifact / "model.onnx", contract.model_copy(update=changes), max_opset=17)
    (artifact / "app.ort").unlink()
    list_again(artifact)


def list_again(artifact: Path) -> None:
    """Write SHA256SUMS anew, as somebody would who changes an artifact on purpose."""
    files = sorted(p for p in artifact.rglob("*") if p.is_file() and p != artifact / "SHA256SUMS")
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(artifact).as_posix()}\n" for p in files]
    (artifact / "SHA256SUMS").write_text("".join(lines))
