"""Runs and artifacts on disk for the tests of comparisons: the sample report's, around a real small ONNX file."""

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgekd.results import Report
from edgekd.workspace import file_sha256

_sample = runpy.run_path(str(Path(__file__).parents[1] / "rendering" / "sample_report.py"))


def sample_report(**changes: Any) -> Report:
    """The sample report with the digests of its test samples."""
    report: Report = _sample["sample_report"](**changes)
    return report.model_copy(update={"splits": {**(report.splits or {}), "digests": {"test": "t" * 64}}})


def write_net(path: Path, *, extra: int = 0, inputs: int = 3, outputs: int = 10, width: int = 16) -> Path:
    """A net of seven 3x3 convolutions on 32x32 pixels; `extra` more channels go through two 1x1 ones at its end."""
    random, nodes, weights = np.random.default_rng(0), [], []

    def conv(name: str, x: str, shape: tuple[int, int, int]) -> str:
        into, out, size = shape
        scale = np.float32(1 / (into * size * size) ** 0.5)
        values = random.standard_normal((out, into, size, size), np.float32) * scale
        weights.append(numpy_helper.from_array(values, f"{name}_w"))
        pads = [size // 2] * 4
        nodes.append(helper.make_node("Conv", [x, f"{name}_w"], [name], name, kernel_shape=[size, size], pads=pads))
        nodes.append(helper.make_node("Relu", [name], [f"{name}_relu"]))
        return f"{name}_relu"

    last = conv("first", "input", (inputs, width, 3))
    for at in range(6):
        last = conv(f"conv{at}", last, (width, width, 3))
    if extra:
        last = conv("up", conv("down", last, (width, extra, 1)), (extra, width, 1))
    weights.append(numpy_helper.from_array(random.standard_normal((width, outputs), np.float32), "w"))
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["pool"]))
    nodes.append(helper.make_node("Flatten", ["pool"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "w"], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, inputs, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, outputs])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def write_run(folder: Path, report: Report | None = None, **net: Any) -> Path:
    """A run folder; with settings of a net, also its artifact."""
    report = report or sample_report()
    (folder / "report").mkdir(parents=True)
    if net:
        (folder / "artifact").mkdir()
        model = write_net(folder / "artifact" / "model.onnx", **net)
        report = report.model_copy(update={"artifact": {"model.onnx": file_sha256(model)}})
        write_manifest(folder / "artifact", report)
    (folder / "report" / "results.json").write_text(report.model_dump_json(by_alias=True))
    return folder


def write_manifest(artifact: Path, report: Report) -> None:
    """What an artifact says of itself."""
    [chosen] = [one for one in report.candidates if one.chosen]
    manifest = {
        "schema": 1,
        "edgekd": report.edgekd,
        "target": report.target,
        "model": report.model.model_dump(),
        "data": report.splits,
        "versions": {"onnxruntime": "1.31.0"},
        "candidate": chosen.model_dump(mode="json", exclude={"host"}),
        "files": report.artifact,
    }
    (artifact / "manifest.json").write_text(json.dumps(manifest))
