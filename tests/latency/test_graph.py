import runpy
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from edgekd.errors import BadInput
from edgekd.latency.graph import as_if, summarise

small = runpy.run_path(str(Path(__file__).parent / "small_graphs.py"))
convolution, model, quantized_convolution = (small[name] for name in ("convolution", "model", "quantized_convolution"))


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


@pytest.mark.parametrize(
    ("inside", "outside", "groups", "symmetric", "steps"),
    [
        (16, 32, 1, True, 9 * 36 * 4 * 2),  # four by four channels, two times sixteen
        (16, 36, 1, True, 9 * 36 * 4 * 3),
        (3, 32, 1, False, 9 * 36),
        (16, 12, 1, False, 9 * 36),
        (16, 30, 1, False, 9 * 36),
        (32, 32, 32, True, 0),
        (24, 24, 24, False, 0),
        (32, 32, 4, False, 9 * 36 * 4),
    ],
)
def test_integer_convolutions_that_fill_their_blocks_are_priced_apart(inside, outside, groups, symmetric, steps):
    stored = {
        "w": np.ones((outside, inside // groups, 3, 3), np.int8),
        "scale": np.array(0.1, np.float32),
        "zero": np.array(0, np.uint8),
        "zero_of_w": np.array(0, np.int8),
    }
    around = ["scale", "zero"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *around], ["q"]),
        helper.make_node("QLinearConv", ["q", *around, "w", "scale", "zero_of_w", *around], ["c"], group=groups),
        helper.make_node("DequantizeLinear", ["c", *around], ["y"]),
    ]
    graph = model(nodes, inputs={"x": [1, inside, 8, 8]}, outputs=["y"], weights=stored)
    _, integer, _ = summarise(graph, optimised=True).nodes
    assert integer.kernel.endswith("QLinearConv_symmetric") is symmetric
    assert integer.steps == steps


@pytest.mark.parametrize(
    ("shape", "order", "variant"),
    [
        ((1, 20, 20, 48), (0, 3, 1, 2), ""),
        ((1, 400, 4, 12), (0, 2, 1, 3), "_rows"),
        ((1, 400, 1, 4, 12), (2, 0, 3, 4, 1), "_far"),  # 400 alone moves, but the runtime sees two that do
        ((4, 5, 6), (2, 1, 0), "_far"),
        ((1, 8, 1, 1), (0, 2, 3, 1), "_rows"),
    ],
)
def test_transposes_are_told_apart_as_the_runtime_does(shape, order, variant):
    node = helper.make_node("Transpose", ["x"], ["y"], perm=order)
    (found,) = summarise(model([node], inputs={"x": list(shape)}, outputs=["y"]), optimised=True).nodes
    assert found.variant == variant
