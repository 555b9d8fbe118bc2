"""The twin computes what the file computes, in unsigned activations."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.device import Numerics
from edgekd.onnx_graph import run_graph
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.int8_static import int8_static
from edgekd.schemes.twin import needs_twin, unsigned

ARM = Numerics(activations="int8", per_channel=True, reduce_range=False)


def signed_file(folder: Path) -> onnx.ModelProto:
    """conv, relu, conv of random weights, quantized for Arm."""
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(shape).astype(np.float32) for shape in ((8, 3, 3, 3), (4, 8, 3, 3))]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "w0"], ["a"]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("Conv", ["b", "w1"], ["logits"]),
        ],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 9, 9])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4, 5, 5])],
        [numpy_helper.from_array(weight, f"w{at}") for at, weight in enumerate(weights)],
    )
    path = folder / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    data = CalibrationData(rng.standard_normal((64, 3, 9, 9)).astype(np.float32))
    assert int8_static(path, folder / "q.onnx", calibration=data, numerics=ARM).file
    return onnx.load(folder / "q.onnx")


def types_of_activations(graph: onnx.ModelProto) -> set[int]:
    kinds = {one.name: one.data_type for one in graph.graph.initializer}
    return {kinds[node.input[2]] for node in graph.graph.node if node.op_type == "QuantizeLinear"}


def test_a_twin_computes_the_same_in_unsigned_activations(tmp_path: Path) -> None:
    graph = signed_file(tmp_path)
    twin = unsigned(graph)
    assert types_of_activations(graph) == {TensorProto.INT8}
    assert types_of_activations(twin) == {TensorProto.UINT8}
    inputs = np.random.default_rng(1).standard_normal((8, 3, 9, 9)).astype(np.float32)
    step = float(np.abs(run_graph(graph, inputs)[0]).max()) / 255
    np.testing.assert_allclose(run_graph(twin, inputs)[0], run_graph(graph, inputs)[0], atol=1.01 * step)


def test_a_zero_point_that_is_read_as_a_weight_too_stays_signed_there(tmp_path: Path) -> None:
    graph = signed_file(tmp_path)
    name = next(node.input[2] for node in graph.graph.node if node.op_type == "QuantizeLinear")
    zero = next(numpy_helper.to_array(one) for one in graph.graph.initializer if one.name == name)
    shared = numpy_helper.from_array(zero, "shared")
    graph.graph.initializer.append(shared)
    for node in graph.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.input[2] == name:
            node.input[2] = "shared"
    bystander = helper.make_node("DequantizeLinear", ["shared", "one", "shared"], ["nothing"])
    graph.graph.node.append(bystander)
    graph.graph.initializer.append(numpy_helper.from_array(np.float32(1), "one"))
    inputs = np.random.default_rng(1).standard_normal((2, 3, 9, 9)).astype(np.float32)
    before, after = run_graph(graph, inputs)[0], run_graph(unsigned(graph), inputs)[0]
    np.testing.assert_allclose(after, before, atol=1.01 * float(np.abs(before).max()) / 255)


def test_only_signed_activations_on_x86_need_one(tmp_path: Path) -> None:
    graph = signed_file(tmp_path)
    assert needs_twin(graph, "x86_64") and not needs_twin(graph, "aarch64")
    assert not needs_twin(unsigned(graph), "x86_64")


def quantizing(quantized: str, zero: np.generic | None) -> onnx.ModelProto:
    """`quantized` goes through QuantizeLinear with this zero point: the input, or the stored weight."""
    stored = {"weight": np.ones((2, 2), np.float32), "scale": np.float32(0.1)}
    if zero is not None:
        stored["zero"] = np.asarray(zero)
    names = ["scale", "zero"][: len(stored) - 1]
    nodes = [
        helper.make_node("QuantizeLinear", [quantized, *names], ["quantized"]),
        helper.make_node("DequantizeLinear", ["quantized", *names], ["float"]),
        helper.make_node("MatMul", ["float", "weight"] if quantized == "input" else ["input", "float"], ["logits"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in ("input", "logits")]
    kept = [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()]
    made = helper.make_model(helper.make_graph(nodes, "one", ends[:1], ends[1:], kept))
    onnx.checker.check_model(made)
    return made


@pytest.mark.parametrize(
    ("quantized", "zero", "signed"),
    [
        ("input", np.int8(0), True),
        ("input", np.uint8(128), False),
        ("input", None, False),  # without a zero point the type is uint8
        ("weight", np.int8(0), False),  # some quantizers leave weights as floats behind such a node
    ],
)
def test_signed_are_only_activations_with_a_zero_point_in_int8(quantized, zero, signed) -> None:
    assert needs_twin(quantizing(quantized, zero), "x86_64") == signed
