import runpy
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from edgekd.errors import BadInput
from edgekd.latency.graph import as_if, summarise

small = runpy.run_path(str(Path(__file__).parent / "small_graphs.py"))
convolution, model, quantized_convolution = (small[name] for name in ("convolution", "model", "quantized_convolution"))
padded_convolution = small["padded_convolution"]
RESNET8 = Path(__file__).resolve().parents[2].parent / "shared" / "models" / "mlperf-tiny-resnet8" / "resnet8.onnx"


@pytest.mark.parametrize(
    ("options", "kind", "macs"),
    [
        ({}, "conv_3x3", 16 * 10 * 10 * 8 * 9),
        ({"stride": 2}, "conv_3x3", 16 * 5 * 5 * 8 * 9),
        ({"kernel": 1}, "conv_1x1", 16 * 10 * 10 * 8),
        ({"kernel": 5}, "conv_other", 16 * 10 * 10 * 8 * 25),
        ({"groups": 4}, "conv_grouped", 16 * 10 * 10 * 2 * 9),
        ({"groups": 8, "filters": 8}, "conv_depthwise_3x3", 8 * 10 * 10 * 9),
        ({"groups": 8, "filters": 8, "stride": 2}, "conv_depthwise", 8 * 5 * 5 * 9),
    ],
)
def test_convolutions_count_output_times_kernel_times_channels_per_group(options, kind, macs):
    summary = summarise(convolution(**options))
    assert summary.macs == macs
    assert [node.operator for node in summary.nodes] == [kind]


def test_params_and_traffic_of_a_convolution():
    (node,) = summarise(convolution()).nodes
    assert node.weights == 16 * 8 * 9 == summarise(convolution()).params
    assert node.bytes_read == 4 * (8 * 10 * 10 + 16 * 8 * 9)
    assert node.bytes_written == 4 * 16 * 10 * 10


def test_transposed_convolution_spreads_every_input_element():
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])
    weight = np.zeros((4, 6, 2, 2), np.float32)
    summary = summarise(model([node], inputs={"x": [1, 4, 5, 5]}, outputs=["y"], weights={"w": weight}))
    assert summary.macs == 4 * 5 * 5 * 6 * 2 * 2


def test_products_with_stored_weights_are_gemm_and_of_activations_matmul():
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1),
        helper.make_node("MatMul", ["q", "k"], ["z"]),
    ]
    summary = summarise(
        model(
            nodes,
            inputs={"x": [1, 20], "q": [1, 3, 7, 5], "k": [1, 3, 5, 11]},
            outputs=["y", "z"],
            weights={"w": np.zeros((10, 20), np.float32), "b": np.zeros(10, np.float32)},
        )
    )
    assert {node.operator: node.macs for node in summary.nodes} == {"gemm": 200, "matmul": 3 * 7 * 11 * 5}
    assert summary.params == 210


def test_lstm_counts_input_and_recurrent_weights_at_every_step():
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=6)
    weights = {"w": np.zeros((1, 24, 5), np.float32), "r": np.zeros((1, 24, 6), np.float32)}
    summary = summarise(model([node], inputs={"x": [9, 1, 5]}, outputs=["y"], weights=weights))
    assert summary.macs == 9 * 4 * 6 * (5 + 6)


def test_batch_norm_addition_and_activation_fold_into_the_convolution():
    ones = np.ones(8, np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("BatchNormalization", ["c", "g", "g", "g", "g"], ["n"]),
        helper.make_node("Add", ["n", "x"], ["s"]),
        helper.make_node("Relu", ["s"], ["y"]),
    ]
    weights = {"w": np.zeros((8, 8, 3, 3), np.float32), "g": ones}
    summary = summarise(model(nodes, inputs={"x": [1, 8, 4, 4]}, outputs=["y"], weights=weights))
    assert [node.operator for node in summary.nodes] == ["conv_3x3"]
    assert summary.operators == {"Add": 1, "BatchNormalization": 1, "Conv": 1, "Relu": 1}
    assert summary.nodes[0].elements_written == 8 * 4 * 4


def test_a_result_that_others_read_keeps_its_activation_apart():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Mul", ["r", "c"], ["y"]),
    ]
    weights = {"w": np.zeros((8, 8, 3, 3), np.float32)}
    summary = summarise(model(nodes, inputs={"x": [1, 8, 4, 4]}, outputs=["y"], weights=weights))
    assert [node.operator for node in summary.nodes] == ["conv_3x3", "elementwise", "elementwise"]


def test_silu_is_one_operator():
    nodes = [helper.make_node("Sigmoid", ["x"], ["g"]), helper.make_node("Mul", ["x", "g"], ["y"])]
    summary = summarise(model(nodes, inputs={"x": [1, 8]}, outputs=["y"]))
    assert [node.operator for node in summary.nodes] == ["activation"]


def test_a_convolution_between_q_and_dq_is_int8_and_swallows_the_pairs():
    summary = summarise(quantized_convolution())
    assert [(n.operator, n.precision) for n in summary.nodes] == [
        ("quantize", "fp32"),
        ("conv_1x1", "int8"),
        ("quantize", "fp32"),
    ]
    conv = summary.nodes[1]
    assert conv.bytes_read == 4 * 36 + 8 * 4
    assert conv.bytes_written == 8 * 36
    assert summary.precision == "int8"
    assert summary.params == 32


def test_without_a_quantized_output_the_convolution_stays_float_and_its_input_is_dequantized():
    summary = summarise(quantized_convolution(quantized_output=False))
    kinds = [(n.operator, n.precision) for n in summary.nodes]
    assert ("conv_1x1", "fp32") in kinds
    assert [kind for kind, _ in kinds].count("quantize") == 2


def test_an_activation_without_an_integer_kernel_leaves_the_convolution_float():
    summary = summarise(quantized_convolution(activation="Softplus"))
    assert {n.precision for n in summary.nodes if n.operator == "conv_1x1"} == {"fp32"}


def test_as_if_int8_changes_work_that_has_integer_kernels_only():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Softmax", ["h"], ["y"])]
    found = summarise(
        model(nodes, inputs={"x": [1, 8]}, outputs=["y"], weights={"w": np.zeros((8, 8), np.float32)})
    ).nodes
    assert [node.precision for node in as_if(found, "int8")] == ["int8", "fp32"]


def test_the_batch_may_be_free_but_nothing_else():
    assert summarise(convolution()).nodes[0].elements_read == 8 * 10 * 10
    node = helper.make_node("Relu", ["x"], ["y"])
    with pytest.raises(BadInput, match=r"'x' leaves dimension 2 \('height'\) open"):
        summarise(model([node], inputs={"x": [1, 3, "height", 8]}, outputs=["y"]))


def test_shapes_that_cannot_be_inferred_are_refused_where_work_depends_on_them():
    nodes = [
        helper.make_node("Mystery", ["x"], ["h"], domain="nowhere"),
        helper.make_node("MatMul", ["h", "w"], ["y"], name="head"),
    ]
    found = model(nodes, inputs={"x": [1, 8]}, outputs=["y"], weights={"w": np.zeros((8, 8), np.float32)})
    with pytest.raises(BadInput, match="nowhere"):
        summarise(found)
    found.opset_import.append(helper.make_opsetid("nowhere", 1))
    with pytest.raises(BadInput, match="'h' at node 'head'"):
        summarise(found)


def test_peak_of_activations_by_hand():
    # x 400 B lives throughout; a 400 B -> b 400 B -> y 400 B: at any node one input, one output and x are alive.
    chain = [helper.make_node("Exp", [one], [two]) for one, two in (("x", "a"), ("a", "b"), ("b", "y"))]
    assert summarise(model(chain, inputs={"x": [1, 100]}, outputs=["y"])).activation_bytes == 3 * 400
    # A branch keeps a alive across b and c: x, a, b, c, then y.
    branch = [
        helper.make_node("Exp", ["x"], ["a"]),
        helper.make_node("Exp", ["a"], ["b"]),
        helper.make_node("Exp", ["b"], ["c"]),
        helper.make_node("Mul", ["a", "c"], ["y"]),
    ]
    assert summarise(model(branch, inputs={"x": [1, 100]}, outputs=["y"])).activation_bytes == 4 * 400


def test_views_and_folded_groups_take_no_memory_of_their_own():
    shape = {"s": np.array([4, 25], np.int64)}
    nodes = [helper.make_node("Exp", ["x"], ["a"]), helper.make_node("Reshape", ["a", "s"], ["y"])]
    assert summarise(model(nodes, inputs={"x": [1, 100]}, outputs=["y"], weights=shape)).activation_bytes == 2 * 400
    folded = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    weight = {"w": np.zeros((4, 4, 1, 1), np.float32)}
    found = summarise(model(folded, inputs={"x": [1, 4, 5, 5]}, outputs=["y"], weights=weight))
    assert found.activation_bytes == 2 * 400


def test_int8_activations_take_one_byte():
    # x float 576 B, y float 1152 B; in between xq 144 B and the convolution's result 288 B.
    assert summarise(quantized_convolution()).activation_bytes == 576 + 288 + 1152


def test_a_graph_whose_nodes_are_out_of_order_is_refused():
    nodes = [helper.make_node("Relu", ["h"], ["y"], name="late"), helper.make_node("Relu", ["x"], ["h"])]
    with pytest.raises(BadInput, match=r"'late'.*reads 'h', which nothing before it makes"):
        summarise(model(nodes, inputs={"x": [1, 8]}, outputs=["y"]))


def test_operators_of_foreign_domains_are_not_mistaken_for_the_standard_ones():
    found = model([helper.make_node("Conv", ["x"], ["y"], domain="mine")], inputs={"x": [1, 8]}, outputs=["y"])
    found.opset_import.append(helper.make_opsetid("mine", 1))
    summary = summarise(found)
    assert (summary.macs, [node.operator for node in summary.nodes]) == (0, ["other"])


def test_a_dynamically_quantized_product_is_one_int8_operator():
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        helper.make_node("MatMulInteger", ["xq", "w", "xz"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=1),
        helper.make_node("Mul", ["f", "ws"], ["y"]),
    ]
    weights = {"w": np.zeros((8, 4), np.int8), "ws": np.ones(4, np.float32)}
    summary = summarise(model(nodes, inputs={"x": [1, 8]}, outputs=["y"], weights=weights))
    assert [(node.operator, node.precision) for node in summary.nodes] == [("quantize", "fp32"), ("gemm", "int8")]
    assert summary.macs == 32


def test_pads_that_the_graph_computes_are_computed():
    # 9 x 9 padded by one on the right and at the bottom only: (10 - 3) / 2 + 1 = 4 outputs a side.
    summary = summarise(padded_convolution())
    assert summary.macs == 16 * 4 * 4 * 8 * 9
    assert summary.unsized == ()


def test_macs_of_a_real_network_with_computed_pads_by_hand():
    if not RESNET8.exists():
        pytest.skip("the MLPerf Tiny ResNet-8 is not beside this checkout")
    stem = 32 * 32 * 16 * 9 * (3 + 16 + 16)
    middle = 16 * 16 * 32 * (9 * (16 + 32) + 16)
    last = 8 * 8 * 64 * (9 * (32 + 64) + 32)
    summary = summarise(onnx.load(RESNET8))
    assert summary.macs == stem + middle + last + 64 * 10 == 12_501_632
    assert summary.activation_bytes >= 4 * 3 * 16 * 32 * 32


def test_a_shape_computed_from_another_tensors_shape_is_known():
    # Reshape to (0, size / 25): 100 x 25 elements of 4 channels each, by the arithmetic that exporters leave behind.
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "at"], ["rows"]),
        helper.make_node("Cast", ["rows"], ["real"], to=1),
        helper.make_node("Div", ["real", "half"], ["halved"]),
        helper.make_node("Floor", ["halved"], ["floored"]),
        helper.make_node("Cast", ["floored"], ["whole"], to=7),
        helper.make_node("Concat", ["one", "whole", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    weights = {
        "at": np.array([1], np.int64),
        "half": np.array([2.0], np.float32),
        "one": np.array([1], np.int64),
        "rest": np.array([14], np.int64),
        "w": np.zeros((14, 3), np.float32),
    }
    assert summarise(model(nodes, inputs={"x": ["n", 10, 7]}, outputs=["y"], weights=weights)).macs == 5 * 14 * 3


def test_work_whose_size_depends_on_the_data_is_refused_by_name():
    nodes = [
        helper.make_node("NonZero", ["x"], ["where"]),
        helper.make_node("Cast", ["where"], ["real"], to=1),
        helper.make_node("MatMul", ["w", "real"], ["y"], name="head"),
    ]
    weights = {"w": np.zeros((4, 2), np.float32)}
    with pytest.raises(BadInput, match="shape of 'y' at node 'head'"):
        summarise(model(nodes, inputs={"x": [1, 8]}, outputs=["y"], weights=weights))


def test_other_operators_of_unknown_size_are_told_and_make_the_model_distant():
    nodes = [helper.make_node("Exp", ["x"], ["e"]), helper.make_node("NonZero", ["e"], ["y"], name="find")]
    found = model(nodes, inputs={"x": [1, 8]}, outputs=["y"])
    found.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    assert summarise(found).unsized == ("find (NonZero)",)


@pytest.mark.parametrize("shape", [[2**20, 2**20], [2**40], [-5], [2**62, 2**62]])
def test_shapes_of_a_hostile_graph_are_never_allocated(shape):
    nodes = [
        helper.make_node("ConstantOfShape", ["huge"], ["pads"]),
        helper.make_node("Pad", ["x", "pads"], ["p"]),
        helper.make_node("Conv", ["p", "w"], ["y"], name="conv"),
    ]
    weights = {"huge": np.array(shape, np.int64), "w": np.zeros((16, 8, 3, 3), np.float32)}
    with pytest.raises(BadInput, match=r"at node 'conv'|cannot infer the shapes"):
        summarise(model(nodes, inputs={"x": [1, 8, 9, 9]}, outputs=["y"], weights=weights))
