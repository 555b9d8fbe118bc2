"""What the runtime leaves of small graphs, with shapes, and what that costs."""

import runpy
from pathlib import Path

import onnx
import pytest
import yaml

import edgekd.latency.x86 as x86_module
from edgekd.errors import BadInput
from edgekd.latency.graph import NodeCost, as_if, summarise
from edgekd.latency.optimised import optimise, summarise_file
from edgekd.latency.x86 import nanoseconds, per_inference

small = runpy.run_path(str(Path(__file__).parent / "small_graphs.py"))
convolution, quantized_convolution = small["convolution"], small["quantized_convolution"]


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def test_a_fused_integer_convolution_has_its_shape_and_its_macs(tmp_path: Path) -> None:
    graph = optimise(saved(quantized_convolution(activation=None), tmp_path), arm=True)
    assert [node.op_type for node in graph.graph.node] == ["QuantizeLinear", "QLinearConv", "DequantizeLinear"]
    shapes = {one.name: [d.dim_value for d in one.type.tensor_type.shape.dim] for one in graph.graph.value_info}
    assert shapes == {graph.graph.node[0].output[0]: [1, 4, 6, 6], graph.graph.node[1].output[0]: [1, 8, 6, 6]}
    first, product, last = summarise(graph, optimised=True).nodes
    assert (product.operator, product.precision, product.macs) == ("conv_1x1", "int8", 6 * 6 * 8 * 4)
    assert (first.precision, first.elements_read) == ("fp32", 6 * 6 * 4)
    assert (last.type, last.elements_written) == ("DequantizeLinear", 6 * 6 * 8)


def test_a_quantized_pair_that_does_not_fuse_is_counted(tmp_path: Path) -> None:
    graph = optimise(saved(quantized_convolution(activation="HardSigmoid"), tmp_path), arm=True)
    nodes = summarise(graph, optimised=True).nodes
    assert [node.precision for node in nodes if node.type == "FusedConv"] == ["fp32"]
    assert [node.type for node in nodes if node.elements_written == 6 * 6 * 4] == ["QuantizeLinear", "DequantizeLinear"]


def test_what_is_optimised_already_is_not_folded_again(tmp_path: Path) -> None:
    graph = optimise(saved(convolution(), tmp_path), arm=False)
    relu = onnx.helper.make_node("Relu", ["y"], ["z"])
    graph.graph.node.append(relu)
    graph.graph.output[0].name = "z"
    assert len(summarise(graph).nodes) == 1
    assert len(summarise(graph, optimised=True).nodes) == 2


def test_a_file_is_summarised_as_an_arm_build_executes_it(tmp_path: Path) -> None:
    path = saved(onnx.shape_inference.infer_shapes(quantized_convolution(activation=None)), tmp_path)
    found = summarise_file(path, arm=True)
    kinds = ["QuantizeLinear", "Transpose", "QLinearConv", "Transpose", "DequantizeLinear"]
    assert [node.type for node in found.nodes] == kinds
    assert found.nodes[2].extent["last"] == 1 and found.nodes[2].extent["outside"] == 8
    raw = summarise(onnx.load(path))
    assert (found.macs, found.params, found.operators) == (raw.macs, raw.params, raw.operators)


def test_float_convolutions_keep_their_layout_on_arm(tmp_path: Path) -> None:
    path = saved(onnx.shape_inference.infer_shapes(convolution(filters=32)), tmp_path)
    (node,) = summarise_file(path, arm=True).nodes
    assert node.type == "Conv" and node.extent["last"] == 0
    (quantized,) = as_if((node,), "int8")
    assert quantized.extent["last"] == 1 and node.extent["last"] == 0


def test_a_file_that_does_not_load_is_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(BadInput, match=r"model\.onnx"):
        optimise(path, arm=False)


def test_nanoseconds_are_the_sum_of_the_five_costs_and_the_dispatch() -> None:
    table = yaml.safe_load((Path(x86_module.__file__).parent / "x86.yaml").read_text())
    own = table["int8"]["conv_1x1"]
    node = NodeCost("n", "conv_1x1", "int8", 1000, 40, 300, 200, "QLinearConv")
    expected = 1000 * own[0] + 300 * own[1] + 200 * own[2] + 40 * own[3] + own[4] + table["node"]
    assert nanoseconds(node) == pytest.approx(expected)
    assert per_inference() == table["run"]


@pytest.mark.parametrize(
    ("node", "stands_for"),
    [
        (
            NodeCost("n", "activation", "fp32", 0, 0, 100, 100, "Mish"),
            NodeCost("n", "activation", "fp32", 0, 0, 100, 100),
        ),
        (NodeCost("n", "other", "fp32", 0, 0, 100, 100, "NewOne"), NodeCost("n", "activation", "fp32", 0, 0, 100, 100)),
        (
            NodeCost("n", "pool", "int8", 0, 0, 100, 25, "MaxPool"),
            NodeCost("n", "pool", "fp32", 0, 0, 100, 25, "MaxPool"),
        ),
    ],
)
def test_operators_that_were_not_timed_take_the_costs_of_their_likest(node: NodeCost, stands_for: NodeCost) -> None:
    assert nanoseconds(node) == nanoseconds(stands_for)
