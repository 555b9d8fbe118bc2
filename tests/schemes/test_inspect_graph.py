"""What a stored graph says of its activations."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.schemes.inspect_graph import signed_activations


def graph(quantized: str, zero: np.generic | None) -> onnx.ModelProto:
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
    assert signed_activations(graph(quantized, zero)) == signed
