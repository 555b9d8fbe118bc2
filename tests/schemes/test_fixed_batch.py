"""A graph that is fixed to a batch, and calibration inputs that do not come out even with it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.device import Numerics
from edgekd.errors import BadInput
from edgekd.onnx_graph import run_graph
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.int8_corrected import int8_corrected
from edgekd.schemes.noise import layer_noise, noise_inputs
from edgekd.schemes.quantizer import prepare
from edgekd.schemes.ranges import find_ranges, whole_batches

NUMERICS = Numerics(activations="uint8", per_channel=False, reduce_range=False)
INPUTS = np.random.default_rng(0).standard_normal((200, 16)).astype(np.float32)


def layers(path: Path, batch: int) -> Path:
    """Two layers with biases and an activation between them, of x (batch, 16)."""
    rng = np.random.default_rng(1)
    values = {"a": rng.normal(size=(16, 16)), "b": np.full(16, 0.3), "c": rng.normal(size=(16, 4)), "d": np.zeros(4)}
    nodes = [
        helper.make_node("Gemm", ["input", "a", "b"], ["x"], name="first"),
        helper.make_node("Relu", ["x"], ["kept"], name="between"),
        helper.make_node("Gemm", ["kept", "c", "d"], ["logits"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 4])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("batch", "there", "most", "used"), [(8, 30, 32, 24), (8, 200, 32, 32), (100, 150, 32, 100), (1, 30, 64, 30)]
)
def test_noise_is_measured_on_whole_batches(tmp_path: Path, batch: int, there: int, most: int, used: int) -> None:
    graph, data = prepare(layers(tmp_path / "m.onnx", batch)).graph, CalibrationData(INPUTS[:there])
    assert whole_batches(graph, data, most) == used
    if most == 32:
        inputs = noise_inputs(graph, data)
        assert np.array_equal(inputs, INPUTS[:used])
        found = layer_noise(graph, find_ranges(graph, data, "minmax"), NUMERICS, inputs)
        assert {one.node for one in found} == {"first", "last"}


@pytest.mark.parametrize(("batch", "there"), [(8, 30), (8, 132), (100, 150)])
def test_biases_are_corrected_on_whole_batches(tmp_path: Path, batch: int, there: int) -> None:
    """With 150 inputs in batches of 100, those that are not compared on would fill none."""
    data, out = CalibrationData(INPUTS[:there]), tmp_path / "out.onnx"
    result = int8_corrected(layers(tmp_path / "m.onnx", batch), out, calibration=data, numerics=NUMERICS)
    said = " ".join(result.notes) + str(result.skipped)
    assert "neither" in said and "dB" in said  # the ways were compared
    if result.file:
        assert np.isfinite(run_graph(onnx.load(out), INPUTS[:batch])[0]).all()


def test_fewer_inputs_than_a_batch_are_counted(tmp_path: Path) -> None:
    model, data = layers(tmp_path / "m.onnx", 8), CalibrationData(INPUTS[:4])
    said = "There are 4 calibration inputs, and the graph is fixed to batches of 8: give at least 8"
    for method in ("minmax", "percentile"):
        with pytest.raises(BadInput, match=said):
            find_ranges(prepare(model).graph, data, method)
    with pytest.raises(BadInput, match=said):
        noise_inputs(prepare(model).graph, data)
    with pytest.raises(BadInput, match=said):
        int8_corrected(model, tmp_path / "out.onnx", calibration=data, numerics=NUMERICS)
