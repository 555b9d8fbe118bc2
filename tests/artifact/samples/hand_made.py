"""Artifacts whose graphs are a few operators, so that plain numpy says what they must answer."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgekd.artifact.contract import Contract, Licences, Source, Tensor
from edgekd.artifact.samples.programs import INPUT, write_samples
from edgekd.workspace import file_sha256

LABELS = ("\"; drop '", "back\\slash\\", "${x} `y` $z", "</script><b>", "鱼 🐟 \u2028 fin")
TOLERANCE = {"input": 1e-5, "output": 0.01, "probability": 0.02, "box": 0.02}
BOXES = np.array([[0.1, 0.2, 0.5, 0.9], [0.4, 0.1, 0.8, 0.3]], np.float32)
"""Of every image, in shares of its sides."""
WEIGHTS = np.random.default_rng(1).normal(0, 6, (3, 5)).astype(np.float32)
TABLE = np.random.default_rng(2).normal(0, 3, (31, 5)).astype(np.float32)
TYPES = {
    "image": TensorProto.UINT8,
    "sound": TensorProto.FLOAT,
    "tokens": TensorProto.INT64,
    "array": TensorProto.FLOAT,
}
RATE = 8000


def raw_inputs(kind: str, channels: int = 3) -> list[np.ndarray]:
    """Six inputs as an app has them, of various sizes; images of one colour each, with noise."""
    rng = np.random.default_rng(5)
    if kind == "image":
        colours = rng.integers(20, 235, (6, channels))
        sizes = rng.integers(5, 30, (6, 2))
        noisy = (colour + rng.integers(-20, 20, (*size, channels)) for colour, size in zip(colours, sizes, strict=True))
        return [image.astype(np.uint8) for image in noisy]
    if kind == "sound":
        return [
            rng.normal(0, 0.1 * (1 + at), int(rng.integers(40, 90))).clip(-1, 1).astype(np.float32) for at in range(6)
        ]
    if kind == "tokens":
        return [rng.integers(1, 31, int(rng.integers(2, 12))) for _ in range(6)]
    return list(rng.normal(0, 1, (6, 3)).astype(np.float32))


def features(raw: np.ndarray, kind: str) -> np.ndarray:
    """What the graphs make of an input: logits (5,)."""
    if kind == "tokens":
        return TABLE[raw].mean(axis=0)
    if kind == "image":
        mean = np.broadcast_to(raw.astype(np.float32).mean(axis=(0, 1)) / 255, 3)
    elif kind == "sound":
        mean = np.array([np.abs(raw).mean(), np.square(raw).mean(), raw.max()])
    else:
        mean = raw
    return mean @ WEIGHTS


def _feature_nodes(kind: str, channels: int) -> list[onnx.NodeProto]:
    name, make = INPUT[kind], helper.make_node
    if kind == "tokens":
        rows = make("Gather", ["table", name], ["rows"])
        return [rows, make("ReduceMean", ["rows"], ["logits"], axes=[0], keepdims=0)]
    if kind == "image":
        wide = [make("Concat", ["mean"] * 3, ["features"], axis=0)] if channels == 1 else []
        return [
            make("Cast", [name], ["pixels"], to=TensorProto.FLOAT),
            make("Div", ["pixels", "levels"], ["shares"]),
            make("ReduceMean", ["shares"], ["features" if channels == 3 else "mean"], axes=[0, 1], keepdims=0),
            *wide,
            make("MatMul", ["features", "weights"], ["logits"]),
        ]
    if kind == "sound":
        return [
            make("Abs", [name], ["loud"]),
            make("Mul", [name, name], ["square"]),
            *(
                make(operator, [value], [f"of_{value}"], axes=[0], keepdims=1)
                for operator, value in (("ReduceMean", "loud"), ("ReduceMean", "square"), ("ReduceMax", name))
            ),
            make("Concat", ["of_loud", "of_square", f"of_{name}"], ["features"], axis=0),
            make("MatMul", ["features", "weights"], ["logits"]),
        ]
    return [make("MatMul", [name, "weights"], ["logits"])]


def _answer_nodes(answer: str) -> list[onnx.NodeProto]:
    make = helper.make_node
    if answer == "classes":
        return [
            make("Softmax", ["logits"], ["all"]),
            make("TopK", ["all", "five"], ["probabilities", "indices"]),
        ]
    if answer == "boxes":  # of the two best classes, each at a place of its own
        return [
            make("Sigmoid", ["logits"], ["all"]),
            make("TopK", ["all", "two"], ["scores", "indices"]),
            make("Shape", ["image"], ["shape"]),
            make("Gather", ["shape", "sides"], ["size"]),
            make("Cast", ["size"], ["scale"], to=TensorProto.FLOAT),
            make("Mul", ["places", "scale"], ["boxes"]),
        ]
    return [make("Identity", ["logits"], ["outputs"])]


def graph(kind: str, answer: str, channels: int = 3) -> onnx.ModelProto:
    """app.onnx of such an artifact; model.onnx, in a batch of one, for arrays without classes."""
    alone = kind == "array" and answer == "outputs"
    shapes = {"image": ["h", "w", channels], "sound": ["n"], "tokens": ["n"], "array": [1, 3] if alone else [3]}
    constants = {
        **{"weights": WEIGHTS, "table": TABLE, "levels": np.float32(255), "five": np.array([5]), "two": np.array([2])},
        **{"sides": np.array([1, 0, 1, 0]), "places": BOXES},
    }
    floats, whole = TensorProto.FLOAT, TensorProto.INT64
    outputs = {
        "classes": [("indices", whole, [5]), ("probabilities", floats, [5])],
        "boxes": [("boxes", floats, [2, 4]), ("scores", floats, [2]), ("indices", whole, [2])],
        "outputs": [("outputs", floats, [1, 5] if alone else [5])],
    }
    nodes = _feature_nodes(kind, channels) + _answer_nodes(answer)
    taken = {name for node in nodes for name in node.input}
    made = helper.make_graph(
        nodes,
        "hand",
        [helper.make_tensor_value_info(INPUT[kind], TYPES[kind], shapes[kind])],
        [helper.make_tensor_value_info(*one) for one in outputs[answer]],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items() if name in taken],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def expected(raw: np.ndarray, kind: str, answer: str) -> dict[str, Any]:
    """One vector of parity.json."""
    logits = features(raw, kind).astype(np.float64)
    powers = np.exp(logits - logits.max())
    shares = powers / powers.sum() if answer == "classes" else 1 / (1 + np.exp(-logits))
    best = np.argsort(-shares)[: 5 if answer == "classes" else 2].tolist()
    if answer == "outputs":
        return {}
    said: dict[str, Any] = {"labels": [LABELS[at] for at in best], "indices": best}
    if answer == "classes":
        return said | {"probabilities": shares[best].tolist()}
    height, width = raw.shape[:2]
    return said | {"scores": shares[best].tolist(), "boxes": (BOXES * [width, height, width, height]).tolist()}


def contract(kind: str, answer: str, channels: int = 3) -> Contract:
    """What preprocess.json of such an artifact says."""
    image = {"height": 8, "width": 8, "channels": channels, "mean": (0.5,) * channels, "std": (0.5,) * channels}
    ready = {"identity": True, "input_shape": (3,), "dtype": "int64" if kind == "tokens" else "float32"}
    return Contract(
        **(image if kind == "image" else ready),
        sample_rate=RATE if kind == "sound" else None,
        schema_version=1,
        task="hand-made",
        kind=kind,
        answer=answer,
        labels=LABELS,
        probabilities=None,
        licences=Licences(),
        source=Source(target="nothing", shipped="a few operators"),
        inputs=(),
        outputs=(Tensor(name="logits", dtype="float32", shape=(1, 5), meaning=""),),
    )


def write_artifact(
    folder: Path,
    kind: str,
    answer: str,
    *,
    channels: int = 3,
    session: dict[str, Any] | None = None,
    spoil: Callable[[onnx.ModelProto], None] = lambda model: None,
    labels: Sequence[str] = LABELS,
) -> Path:
    """An artifact of which `spoil` changes the graph, and `labels` are written in an order of their own."""
    (folder / "parity").mkdir(parents=True)
    made, raw = graph(kind, answer, channels), raw_inputs(kind, channels)
    spoil(made)
    alone = kind == "array" and answer == "outputs"
    onnx.save(made, folder / ("model.onnx" if alone else "app.onnx"))
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    vectors = [expected(one, kind, answer) for one in raw]
    parity = {
        **{"schema": 1, "reference": "numpy", "runtime": "onnxruntime", "session": {}, "outputs": ["logits"]},
        **{"kind": kind, "answer": answer, "tolerance": TOLERANCE, "vectors": vectors},
    }
    (folder / "parity" / "parity.json").write_text(json.dumps(parity))
    for at, one in enumerate(raw):
        np.save(folder / "parity" / f"raw{at}.npy", one)
    outputs = np.stack([features(one, kind) for one in raw]).astype(np.float32)
    np.save(folder / "parity" / "output0.npy", outputs)
    how = contract(kind, answer, channels)
    (folder / "preprocess.json").write_text(how.as_json())
    write_samples(folder, how, session=session or {"threads": 1})
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = (f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files)
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder
