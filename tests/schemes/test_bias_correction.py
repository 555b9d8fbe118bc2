"""Bias correction: whole steps by hand, layer behind layer, and means that meet on a real graph."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgekd.device import Numerics
from edgekd.exporting.onnx_export import export_onnx
from edgekd.onnx_graph import run_graph
from edgekd.parity import sqnr_db
from edgekd.schemes import bias_correction
from edgekd.schemes.bias_correction import corrected
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.qdq import with_pairs
from edgekd.schemes.quantizer import prepare
from edgekd.schemes.ranges import find_ranges, giving, run_batches

PER_TENSOR = Numerics(activations="uint8", per_channel=False, reduce_range=False)


def model(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], width: int = 2) -> onnx.ModelProto:
    """A graph from "x" to "y", both (n, width)."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width]) for name in ("x", "y")]
    inner = [helper.make_tensor_value_info("h", TensorProto.FLOAT, ["n", width])]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    whole = helper.make_graph(nodes, "g", ends[:1], ends[1:], initializers, value_info=inner)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def layers(*, quantized: bool) -> list[onnx.NodeProto]:
    """Two Gemms; with `quantized`, their biases are whole steps."""
    biases = [helper.make_node("DequantizeLinear", [f"q{at}", f"s{at}"], [f"b{at}"], axis=0) for at in (1, 2)]
    products = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="first"),
        helper.make_node("Gemm", ["h", "w2", "b2"], ["y"], name="second"),
    ]
    return [*biases, *products] if quantized else products


def vector(*numbers: float) -> np.ndarray:
    return np.asarray(numbers, np.float32)


def test_the_shift_of_the_mean_goes_into_the_bias_in_whole_steps_layer_behind_layer() -> None:
    # Inputs are (1, 2) on average. Rounded weights lose 0.1 of the identity, so "first" gives (0.9, 1.8) for (1, 2).
    # With steps of 0.045 and 0.3 those are 0.1 / 0.045, 2 steps, and 0.2 / 0.3, 1 step: (0.99, 2.1).
    # "second" doubles exactly; it is off by 2 x (-0.01, +0.1) only, 2 and -20 of its steps of 0.01. Had it been
    # corrected before "first", it would have got 20 and 40.
    eye, zero = np.eye(2, dtype=np.float32), np.zeros(2, np.int32)
    exact = model(layers(quantized=False), {"w1": eye, "b1": vector(0, 0), "w2": 2 * eye, "b2": vector(0, 0)})
    constants = {"w1": 0.9 * eye, "q1": zero, "s1": vector(0.045, 0.3), "w2": 2 * eye, "q2": zero + 7}
    rounded = model(layers(quantized=True), {**constants, "s2": vector(0.01, 0.01)})
    data = CalibrationData(np.asarray([[0, 1], [2, 3], [1, 2], [1, 2]], np.float32))
    found = {one.name: numpy_helper.to_array(one) for one in corrected(exact, rounded, data).graph.initializer}
    assert found["q1"].tolist() == [2, 1]
    assert found["q2"].tolist() == [2, -20]  # the 7 steps that it began with were off too
    assert found["q1"].dtype == found["q2"].dtype == np.int32
    assert numpy_helper.to_array(rounded.graph.initializer[1]).tolist() == [0, 0]  # a copy was corrected


def test_a_float_bias_takes_the_whole_shift_and_a_shared_one_stays() -> None:
    eye = np.eye(2, dtype=np.float32)
    constants = {"w1": eye, "b1": vector(0, 0), "w2": 2 * eye, "b2": vector(0, 0)}
    exact, rounded = (model(layers(quantized=False), {**constants, "w1": scale * eye}) for scale in (1, 0.75))
    data = CalibrationData(np.asarray([[1, 2]], np.float32))
    found = [numpy_helper.to_array(one) for one in corrected(exact, rounded, data).graph.initializer]
    assert found[1].tolist() == [0.25, 0.5] and found[3].tolist() == [0, 0]
    for graph in (exact, rounded):
        graph.graph.node[1].input[2] = "b1"
    found = [numpy_helper.to_array(one) for one in corrected(exact, rounded, data).graph.initializer]
    assert found[1].tolist() == [0, 0]


class Branches(nn.Module):
    """A residual sum, activations that the quantizer removes, a depthwise layer, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.deep, self.head, self.side = nn.Conv2d(16, 16, 3, groups=16), nn.Linear(16, 5), nn.Conv2d(16, 4, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        stem = torch.relu(self.stem(image))
        both = stem + torch.relu(self.inner(stem))
        return self.head(torch.clip(self.deep(both), 0, 6).mean((2, 3))), self.side(both)


def images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(1, 1, size=(count, 3, 12, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """A float graph, and what its quantizer makes of it with weights rounded to 8 bits of one scale per tensor."""
    torch.manual_seed(0)
    net = Branches().eval()
    with torch.no_grad():
        for layer in (net.stem, net.inner, net.deep, net.side):
            layer.weight[0] *= 30  # all others are rounded coarsely
    path = tmp_path_factory.mktemp("branches") / "float.onnx"
    export_onnx(net, torch.zeros(1, 3, 12, 12), path, max_opset=17, max_ir=8)
    graph = prepare(path).graph
    ranges = find_ranges(graph, CalibrationData(images(64, 0)), "minmax")
    return graph, with_pairs(graph, ranges, PER_TENSOR)


def channel_means(graph: onnx.ModelProto, data: CalibrationData) -> dict[str, np.ndarray]:
    """Mean of every channel of every Conv and Gemm, by node, as the whole graph runs at once."""
    nodes = [node for node in graph.graph.node if node.op_type in ("Conv", "Gemm")]
    runs = [*run_batches(giving(graph, [node.output[0] for node in nodes]), data)]
    stacked = [np.concatenate(outputs) for outputs in zip(*runs, strict=True)]
    means = [one.mean(axis=(0, *range(2, one.ndim))) for one in stacked]
    return dict(zip([node.name for node in nodes], means, strict=True))


def test_every_layer_of_a_quantized_graph_has_the_float_means(pair: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    graph, quantized = pair
    data = CalibrationData(images(48, 0))
    better = corrected(graph, quantized, data, count=48)
    wanted, before, after = (channel_means(one, data) for one in (graph, quantized, better))
    steps = {
        node.name: next(
            numpy_helper.to_array(one)
            for made in better.graph.node
            for one in better.graph.initializer
            if made.output[0] == node.input[2] and one.name == made.input[1]
        )
        for node in better.graph.node
        if node.name in wanted
    }
    assert len(wanted) == 5
    for name, mean in wanted.items():
        assert np.abs(before[name] - mean).max() > 5 * steps[name].max()
        assert (np.abs(after[name] - mean) <= 0.501 * steps[name] + 1e-5).all()
    exact = run_graph(graph, images(32, 1))
    signals = [[sqnr_db(*two) for two in zip(exact, run_graph(one, images(32, 1)), strict=True)] for one in pair]
    improved = [sqnr_db(*two) for two in zip(exact, run_graph(better, images(32, 1)), strict=True)]
    assert improved[0] > signals[1][0] + 3 and improved[1] > signals[1][1]


def test_memory_bounds_how_many_inputs_take_part(
    pair: tuple[onnx.ModelProto, onnx.ModelProto], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The largest tensors are (16, 12, 12), 2,304 elements of 8 bytes: 1 MiB holds 56 of them.
    data = CalibrationData(images(64, 0))
    few, all_of_them = corrected(*pair, data, count=56), corrected(*pair, data)
    assert few.SerializeToString() != all_of_them.SerializeToString()
    monkeypatch.setattr(bias_correction, "HELD_MIB", 1)
    assert corrected(*pair, data).SerializeToString() == few.SerializeToString()
