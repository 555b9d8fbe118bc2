"""The scheme on a published ResNet: better than static, a planted collapse recovered, skipped where it is no use."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.device import Numerics
from edgekd.parity import sqnr_db
from edgekd.runtimes import predict_batches
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.inspect_graph import operators_left
from edgekd.schemes.int8_corrected import int8_corrected
from edgekd.schemes.int8_static import int8_static

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
PER_CHANNEL = Numerics(activations="int8", per_channel=True, reduce_range=False)
PER_TENSOR = PER_CHANNEL.model_copy(update={"per_channel": False})


def blocks(count: int, seed: int) -> np.ndarray:
    """Images 0..255 of coarse blocks, as photographs are smooth."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (count, 3, 8, 8))
    return coarse.repeat(4, 2).repeat(4, 3).astype(np.float32)


CALIBRATION = CalibrationData(blocks(128, 0))


@pytest.fixture(scope="module")
def resnet() -> Path:
    path = SHARED / "models/mlperf-tiny-resnet8/resnet8.onnx"
    if not path.is_file():
        pytest.skip("the published ResNet-8 is not here")
    return path


def signal(exact: Path, file: Path) -> float:
    """On inputs that are no calibration inputs."""
    return sqnr_db(*(predict_batches(one, [blocks(128, 1)]) for one in (exact, file)))


def planted(resnet: Path, out: Path) -> Path:
    """The same function, with one channel 100 times larger than the others inside each of two blocks."""
    model = onnx.load(resnet)
    nodes = {node.name: node for node in model.graph.node}
    constants = {one.name: one for one in model.graph.initializer}
    for maker, reader in (("/conv.1/Conv", "/conv.2/Conv"), ("/conv.6/Conv", "/conv.7/Conv")):
        for name in (*nodes[maker].input[1:], nodes[reader].input[1]):
            value = numpy_helper.to_array(constants[name]).copy()
            if name == nodes[reader].input[1]:
                value[:, 3] /= 100
            else:
                value[3] *= 100
            constants[name].CopyFrom(numpy_helper.from_array(value, name))
    onnx.save(model, out)
    return out


@pytest.mark.slow
def test_biases_that_are_corrected_bring_the_outputs_nearer(resnet: Path, tmp_path: Path) -> None:
    static, better = tmp_path / "static.onnx", tmp_path / "better.onnx"
    int8_static(resnet, static, calibration=CALIBRATION, numerics=PER_TENSOR)
    result = int8_corrected(resnet, better, calibration=CALIBRATION, numerics=PER_TENSOR)
    assert (result.scheme, result.file, result.skipped) == ("int8_corrected", "better.onnx", None)
    assert "bias correction; on calibration inputs: neither" in result.notes[0]
    assert signal(resnet, better) > signal(resnet, static) + 1
    assert operators_left(better, arm=True) == operators_left(static, arm=True)
    again = tmp_path / "again.onnx"
    int8_corrected(resnet, again, calibration=CALIBRATION, numerics=PER_TENSOR)
    assert again.read_bytes() == better.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("numerics", [PER_CHANNEL, PER_TENSOR])
def test_a_planted_collapse_is_recovered(resnet: Path, tmp_path: Path, numerics: Numerics) -> None:
    hard = planted(resnet, tmp_path / "hard.onnx")
    assert signal(resnet, hard) > 100
    files = {}
    for name, scheme, model in (
        ("collapsed", int8_static, hard),
        ("recovered", int8_corrected, hard),
        ("sound", int8_static, resnet),
    ):
        files[name] = tmp_path / f"{name}.onnx"
        result = scheme(model, files[name], calibration=CALIBRATION, numerics=numerics)
    signals = {name: signal(resnet, file) for name, file in files.items()}
    assert signals["collapsed"] < 15
    assert signals["recovered"] > signals["sound"] - 1, result.notes


@pytest.mark.slow
def test_layers_that_are_left_float_stay_float(resnet: Path, tmp_path: Path) -> None:
    out = tmp_path / "mixed.onnx"
    int8_corrected(resnet, out, calibration=CALIBRATION, numerics=PER_TENSOR, leave_float=["/conv.0/Conv"])
    first = next(node for node in onnx.load(out).graph.node if node.name == "/conv.0/Conv")
    floats = {one.name for one in onnx.load(out).graph.initializer if one.data_type == TensorProto.FLOAT}
    assert first.input[0] == "image" and set(first.input[1:]) <= floats


@pytest.mark.slow
def test_nodes_without_names_and_constants_among_the_inputs(resnet: Path, tmp_path: Path) -> None:
    """As exporters wrote graphs for years: one name for all nodes, and weights that a caller may set."""
    model = onnx.load(resnet)
    for node in model.graph.node:
        node.name = ""
    model.graph.input.extend(
        helper.make_tensor_value_info(one.name, one.data_type, one.dims) for one in model.graph.initializer
    )
    old = tmp_path / "old.onnx"
    onnx.save(model, old)
    outputs = []
    for source in (resnet, old):
        out = tmp_path / f"{source.stem}.int8.onnx"
        assert int8_corrected(source, out, calibration=CALIBRATION, numerics=PER_TENSOR).notes
        outputs.append(predict_batches(out, [blocks(8, 1)]))
    assert np.array_equal(*outputs)


def test_skipped_where_it_does_not_help(resnet: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    assert "no calibration data" in int8_corrected(resnet, out, calibration=None, numerics=PER_CHANNEL).skipped
    whole = helper.make_graph(
        [helper.make_node("MatMul", ["input", "w"], ["logits"], name="product")],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32), "w")],
    )
    path = tmp_path / "product.onnx"
    onnx.save(helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    data = CalibrationData(np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32))
    result = int8_corrected(path, out, calibration=data, numerics=PER_CHANNEL)
    assert result.file is None and "neither equalisation nor bias correction helps" in result.skipped
    assert not out.exists()
    int8_static(path, out, calibration=data, numerics=PER_CHANNEL)
    assert "quantized already" in int8_corrected(out, path, calibration=data, numerics=PER_CHANNEL).skipped
