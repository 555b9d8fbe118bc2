"""Noise by layer, on a published ResNet: each layer alone, the sum of all, and what gathers along the way."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.device import Numerics
from edgekd.onnx_graph import run_graph
from edgekd.parity import sqnr_db
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.noise import accumulated_noise, layer_noise
from edgekd.schemes.qdq import with_pairs
from edgekd.schemes.quantizer import prepare
from edgekd.schemes.ranges import find_ranges

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
NUMERICS = Numerics(activations="uint8", per_channel=True, reduce_range=False)


def blocks(count: int, seed: int) -> np.ndarray:
    """Images 0..255 of coarse blocks, as photographs are smooth."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (count, 3, 8, 8))
    return coarse.repeat(4, 2).repeat(4, 3).astype(np.float32)


@pytest.fixture(scope="module")
def resnet() -> onnx.ModelProto:
    path = SHARED / "models/mlperf-tiny-resnet8/resnet8.onnx"
    if not path.is_file():
        pytest.skip("the published ResNet-8 is not here")
    return prepare(path).graph


def test_each_layer_alone_and_all_of_them(resnet: onnx.ModelProto) -> None:
    ranges = find_ranges(resnet, CalibrationData(blocks(32, 0)), "minmax")
    inputs = blocks(32, 1)
    [exact] = run_graph(resnet, inputs)
    found = layer_noise(resnet, ranges, NUMERICS, inputs)
    signals = {one.node: one.sqnr_db for one in found}
    assert list(signals.values()) == sorted(signals.values())
    assert [one.operator for one in found].count("Conv") == 9
    assert {"Relu", "Flatten"}.isdisjoint({one.operator for one in found})
    first = next(one for one in found if one.node == "/conv.0/Conv")
    assert (first.weights, first.macs) == (16 * 3 * 9 + 16, 32 * 32 * 16 * 3 * 9)

    # alone: everything else is left float, but for the activation that is a part of its range
    others = {node.name for node in resnet.graph.node} - {"/conv.3/Conv", "/Relu_3"}
    [alone] = run_graph(with_pairs(resnet, ranges, NUMERICS, leave_float=others), inputs)
    assert signals["/conv.3/Conv"] == pytest.approx(sqnr_db(exact, alone))

    # independent noises add up in power
    [whole] = run_graph(with_pairs(resnet, ranges, NUMERICS), inputs)
    added = -10 * np.log10(sum(10 ** (-signal / 10) for signal in signals.values()))
    assert added == pytest.approx(sqnr_db(exact, whole), abs=3)


def test_a_layer_of_unequal_channels_comes_first(resnet: onnx.ModelProto) -> None:
    planted = onnx.ModelProto()
    planted.CopyFrom(resnet)
    constants = {one.name: one for one in planted.graph.initializer}
    made, read = (next(one for one in planted.graph.node if one.name == f"/conv.{at}/Conv") for at in (6, 7))
    for name in (*made.input[1:], read.input[1]):
        value = numpy_helper.to_array(constants[name]).copy()
        if name == read.input[1]:
            value[:, 3] /= 300
        else:
            value[3] *= 300
        constants[name].CopyFrom(numpy_helper.from_array(value, name))
    inputs = blocks(16, 1)
    for graph, expected in ((resnet, False), (planted, True)):
        ranges = find_ranges(graph, CalibrationData(blocks(32, 0)), "minmax")
        worst = {one.node for one in layer_noise(graph, ranges, NUMERICS, inputs)[:2]}
        assert (worst == {"/conv.6/Conv", "/conv.7/Conv"}) == expected


def test_noise_gathers_along_the_graph(resnet: onnx.ModelProto) -> None:
    ranges = find_ranges(resnet, CalibrationData(blocks(32, 0)), "minmax")
    quantized = with_pairs(resnet, ranges, NUMERICS)
    inputs = blocks(8, 1)
    found = accumulated_noise(resnet, quantized, inputs)
    made = [node.name for node in resnet.graph.node]
    assert [one.node for one in found] == sorted((one.node for one in found), key=made.index)
    assert {node.name for node in resnet.graph.node if node.op_type in ("Conv", "Gemm", "Add")} < {
        one.node for one in found
    }
    assert found[0].node == "/conv.0/Conv" and found[0].sqnr_db > found[-1].sqnr_db + 3


def test_the_powers_of_all_batches_count() -> None:
    # x and 1.5 x on 1 and 3: signals 1 + 9, noises 0.25 + 2.25, which is a ratio of 4. Then the same thing squared:
    # 1 + 81 against (2.25 - 1)^2 (1 + 81).
    def graph(factor: float) -> onnx.ModelProto:
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in ("x", "h", "y")]
        nodes = [
            helper.make_node("Mul", ["x", "f"], ["h"], name="scale"),
            helper.make_node("Mul", ["h", "h"], ["y"], name="square"),
        ]
        constants = [numpy_helper.from_array(np.asarray(factor, np.float32), "f")]
        whole = helper.make_graph(nodes, "g", ends[:1], ends[2:], constants, value_info=ends[1:2])
        return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    scale, square = accumulated_noise(graph(1), graph(1.5), np.asarray([[1], [3]], np.float32))
    assert (scale.node, scale.operator, square.node) == ("scale", "Mul", "square")
    assert scale.sqnr_db == pytest.approx(10 * np.log10(4))
    assert square.sqnr_db == pytest.approx(-20 * np.log10(1.25))
