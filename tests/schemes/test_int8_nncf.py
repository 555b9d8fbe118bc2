"""NNCF's int8 in one ONNX file: signal, the same bytes twice, attention seen, no word to anyone."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.device import Numerics
from edgekd.external_data import to_bytes
from edgekd.parity import sqnr_db
from edgekd.runtimes import predict_batches
from edgekd.schemes import int8_nncf as module
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.int8_nncf import has_attention, int8_nncf

X86 = Numerics(activations="uint8", per_channel=True, reduce_range=False)
needs_nncf = pytest.mark.skipif(importlib.util.find_spec("nncf") is None, reason="nncf is not installed")
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(32, 3, 16, 16)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two convolutions around a residual sum, a mean and a product; no node has a name."""
    shapes = {"a": (16, 3, 3, 3), "b": (16, 16, 3, 3), "head": (16, 10)}
    weights = {name: RNG.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "a"], ["stem"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["stem"], ["kept"]),
            helper.make_node("Conv", ["kept", "b"], ["branch"], pads=[1, 1, 1, 1]),
            helper.make_node("Add", ["kept", "branch"], ["sum"]),
            helper.make_node("GlobalAveragePool", ["sum"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "head"], ["logits"]),
        ],
        "small",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def int8_weights(path: Path) -> list[np.ndarray]:
    values = [numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer]
    return [value for value in values if value.dtype == np.int8 and value.ndim >= 2]


@needs_nncf
@pytest.mark.parametrize(("reduce_range", "largest"), [(False, 127), (True, 64)])
def test_the_file_keeps_the_signal_in_both_runtimes_and_a_bit_free_where_told(
    model: Path, tmp_path: Path, reduce_range: bool, largest: int
) -> None:
    out = tmp_path / "int8.onnx"
    numerics = X86.model_copy(update={"reduce_range": reduce_range})
    result = int8_nncf(model, out, calibration=CalibrationData(IMAGES), numerics=numerics)
    assert (result.file, result.opset, result.ir_version) == ("int8.onnx", 17, 8)
    weights = int8_weights(out)
    assert len(weights) == 3 and max(int(np.abs(value.astype(int)).max()) for value in weights) == largest
    exact = predict_batches(model, [IMAGES])
    for runtime in ("onnxruntime", "openvino"):
        assert sqnr_db(exact, predict_batches(out, [IMAGES], runtime=runtime)) > 25


@needs_nncf
def test_two_runs_give_the_same_bytes(model: Path, tmp_path: Path) -> None:
    written = []
    for name in ("first.onnx", "second.onnx"):
        int8_nncf(model, tmp_path / name, calibration=CalibrationData(IMAGES), numerics=X86)
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]


@needs_nncf
@pytest.mark.slow
def test_nothing_is_told_to_anyone_printed_or_left_behind(model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    here = tmp_path / "here"
    here.mkdir()
    code = f"""
import sys, json, numpy as np
from pathlib import Path
from edgekd.device import Numerics
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.int8_nncf import int8_nncf
numerics = Numerics.model_validate_json({X86.model_dump_json()!r})
data = CalibrationData(np.load({str(tmp_path / "images.npy")!r}))
int8_nncf(Path({str(model)!r}), Path({str(tmp_path / "out.onnx")!r}), calibration=data, numerics=numerics)
from nncf.telemetry import telemetry
print(json.dumps([sys.modules["openvino_telemetry"], type(telemetry).__name__]))
"""
    environment = {**os.environ, "HOME": str(here), "TMPDIR": str(here)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=here, env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [None, "MagicMock"]  # what nncf puts in the place of its telemetry
    assert done.stderr == "" and [path for path in here.rglob("*") if path.is_file()] == []


def test_what_it_cannot_do_without_is_said(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "int8.onnx"
    assert int8_nncf(model, out, calibration=None, numerics=X86).skipped == "there are no calibration data"
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    result = int8_nncf(model, out, calibration=CalibrationData(IMAGES), numerics=X86)
    assert result.skipped == "nncf is not installed; pip install 'edgekd[openvino]' adds it" and not out.exists()


def test_attention_is_a_product_with_a_softmax(model: Path) -> None:
    graph = onnx.load(model)
    assert not has_attention(graph)
    graph.graph.node.append(helper.make_node("Softmax", ["logits"], ["shares"]))
    assert not has_attention(graph)  # of a classifier
    graph.graph.node.append(helper.make_node("MatMul", ["shares", "values"], ["mixed"]))
    assert has_attention(graph)


@needs_nncf
@pytest.mark.parametrize("better", [0, 1])
def test_attention_is_smoothed_only_where_that_keeps_more(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, better: int
) -> None:
    quantize, asked, judged = module._quantize, [], []
    monkeypatch.setattr(module, "has_attention", lambda graph: True)
    monkeypatch.setattr(
        module, "_quantize", lambda *a, smooth, **k: asked.append(smooth) or quantize(*a, smooth=smooth)
    )
    monkeypatch.setattr(module, "_signal", lambda graph, *_: judged.append(graph) or float(len(judged) - 1 == better))
    int8_nncf(model, tmp_path / "int8.onnx", calibration=CalibrationData(IMAGES), numerics=X86)
    assert asked == [True, False]
    assert (tmp_path / "int8.onnx").read_bytes() == to_bytes(judged[better])
