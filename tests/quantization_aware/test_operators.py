"""Every operator against ONNX Runtime, on a graph of that one node; and what is refused."""

from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgekd.errors import BadInput
from edgekd.quantization_aware.interpreter import Interpreter
from edgekd.quantization_aware.operators import OPERATORS

IMAGE, ROWS = (2, 4, 7, 6), (3, 5)


class Case(NamedTuple):
    """`after` are the inputs behind the first, arrays or None for one left out; `before` one in front of it."""

    kind: str
    attributes: dict[str, Any]
    after: tuple[Any, ...]
    shape: tuple[int, ...] = ROWS
    outputs: int = 1
    opset: int = 18
    before: Any = None


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(0, 1, shape).astype(np.float32)


def whole(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def number(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def row(kind: str, *after: Any, **attributes: Any) -> Case:
    return Case(kind, attributes, after)


def image(kind: str, *after: Any, **attributes: Any) -> Case:
    return Case(kind, attributes, after, IMAGE)


CASES = [
    *(row(kind) for kind in ("Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "HardSwish", "IsNaN", "Mish", "Neg")),
    *(row(kind) for kind in ("Reciprocal", "Relu", "Round", "Sigmoid", "Sin", "Softplus", "Softsign", "Tanh")),
    *(row(kind, draw(5)) for kind in ("Add", "Sub", "Mul", "Div", "PRelu", "Greater", "Less", "Equal")),
    *(row(kind, draw(5)) for kind in ("GreaterOrEqual", "LessOrEqual")),
    *(row(kind, draw(5), draw(3, 1)) for kind in ("Max", "Min", "Sum")),
    row("Pow", number(2)),
    row("Mod", number(0.7), fmod=1),
    row("Clip", number(-0.3), number(0.4)),
    row("Clip", None, number(0.4)),
    row("Elu", alpha=0.5),
    row("LeakyRelu", alpha=0.2),
    row("HardSigmoid", alpha=0.3, beta=0.4),
    row("Softmax", axis=0),
    row("LogSoftmax"),
    row("Cast", to=TensorProto.INT64),
    row("Dropout"),
    Case("Gelu", {"approximate": "tanh"}, (), opset=20),
    Case("Gelu", {}, (), opset=20),
    Case("Where", {}, (draw(3, 5),), before=draw(3, 5) > 0),
    image("Conv", draw(6, 2, 3, 3), draw(6), group=2, pads=[1, 0, 2, 1], strides=[2, 1]),
    image("Conv", draw(6, 4, 3, 2), auto_pad="SAME_UPPER", strides=[2, 2]),
    image("Conv", draw(6, 4, 3, 2), auto_pad="SAME_LOWER", strides=[2, 2]),
    image("Conv", draw(6, 4, 3, 3), auto_pad="VALID", dilations=[2, 1]),
    Case("Conv", {"pads": [2, 2], "dilations": [2]}, (draw(4, 3, 3),), (2, 3, 9)),
    image("ConvTranspose", draw(4, 3, 3, 3), draw(6), group=2, strides=[2, 2], pads=[1, 0, 1, 2]),
    image("ConvTranspose", draw(4, 3, 2, 2), strides=[2, 3], output_padding=[1, 2]),
    row("Gemm", draw(4, 5), draw(4), transB=1, alpha=0.5, beta=2.0),
    row("Gemm", draw(3, 4), transA=1),
    row("MatMul", draw(2, 5, 4)),
    image("BatchNormalization", draw(4), draw(4), draw(4), draw(4) ** 2 + 0.1, epsilon=1e-3),
    image("LayerNormalization", draw(7, 6), draw(7, 6), axis=2, epsilon=1e-3),
    image("LayerNormalization", draw(6)),
    image("InstanceNormalization", draw(4), draw(4)),
    Case("GroupNormalization", {"num_groups": 2}, (draw(4), draw(4)), IMAGE, opset=21),
    Case("GroupNormalization", {"num_groups": 2}, (draw(2), draw(2)), IMAGE),
    image("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 0, 1]),
    image("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    image("MaxPool", kernel_shape=[2, 2], auto_pad="SAME_UPPER", strides=[2, 2]),
    image("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    image("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 1], count_include_pad=1),
    image("AveragePool", kernel_shape=[2, 2], strides=[2, 2]),
    *(image(kind) for kind in ("GlobalAveragePool", "GlobalMaxPool", "Shape", "Flatten", "Transpose", "Identity")),
    *(image(kind, whole(1, -1)) for kind in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceSum")),
    Case("ReduceMean", {"axes": [2, 3], "keepdims": 0}, (), IMAGE, opset=13),
    row("ReduceSum"),
    row("ReduceSum", noop_with_empty_axes=1),
    row("ArgMax", axis=1, keepdims=0),
    row("CumSum", whole(1)),
    image("Reshape", whole(0, -1, 3)),
    image("Flatten", axis=2),
    image("Transpose", perm=[0, 2, 3, 1]),
    Case("Squeeze", {}, (whole(-1),), (3, 1, 1)),
    Case("Squeeze", {}, (), (3, 1, 1)),
    row("Unsqueeze", whole(-1, 0)),
    row("Concat", draw(3, 2), axis=-1),
    Case("Split", {"axis": 1}, (whole(2, 3),), outputs=2),
    Case("Split", {"axis": 1, "num_outputs": 2}, (), outputs=2),
    image("Slice", whole(1, -1), whole(100, -100), whole(1, 3), whole(1, -2)),
    image("Slice", whole(0, 1), whole(2, -1)),
    row("Gather", np.array([[0, -1], [2, 2]], np.int64), axis=1),
    row("GatherElements", np.array([[0, -1]], np.int64), axis=1),
    image("Pad", whole(0, 0, 1, 2, 0, 0, 3, 0), number(0.5)),
    image("Pad", whole(1, 2, 3, 1), None, whole(2, -1), mode="reflect"),
    image("Pad", whole(0, 0, 1, 2, 0, 0, 3, 0), mode="edge"),
    row("Expand", whole(2, 1, 5)),
    row("Tile", whole(2, 3)),
    row("Trilu", number(1).astype(np.int64), upper=0),
    Case("DepthToSpace", {"blocksize": 2}, (), (1, 8, 2, 3)),
    Case("DepthToSpace", {"blocksize": 2, "mode": "CRD"}, (), (1, 8, 2, 3)),
    Case("SpaceToDepth", {"blocksize": 2}, (), (1, 2, 4, 6)),
    *(
        image("Resize", None, np.array([1, 1, *factors], np.float32), mode=mode, coordinate_transformation_mode=rule)
        for mode in ("nearest", "linear")
        for rule in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
        for factors in ((2.0, 2.0), (0.6, 1.7))
    ),
    image("Resize", None, None, whole(2, 4, 10, 3), nearest_mode="floor"),
    image("Resize", None, None, whole(2, 4, 10, 3), nearest_mode="ceil", coordinate_transformation_mode="asymmetric"),
    row("QuantizeLinear", number(0.1), np.array(7, np.uint8)),
    Case("DequantizeLinear", {"axis": 0}, (draw(3), np.zeros(3, np.int8)), before=None),
]


def build(case: Case) -> onnx.ModelProto:
    """A graph from "x" through the node to its outputs; integers come out as float where torch keeps them so."""
    constants = {f"c{at}": one for at, one in enumerate(case.after) if one is not None}
    names = ["x", *(f"c{at}" if one is not None else "" for at, one in enumerate(case.after))]
    if case.before is not None:
        constants["first"], names = case.before, ["first", *names]
    outputs = [f"y{at}" for at in range(case.outputs)]
    nodes = [helper.make_node(case.kind, names, outputs, **case.attributes)]
    if case.kind == "DequantizeLinear":
        nodes = [helper.make_node("QuantizeLinear", ["x", *names[1:]], ["q"], **case.attributes), *nodes]
        nodes[1].input[0] = "q"
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, case.shape)],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)], ir_version=10)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}-{sorted(case.attributes)}")
def test_an_operator_computes_what_the_runtime_computes(case: Case, reference) -> None:
    inputs = draw(*case.shape)
    if case.kind == "DequantizeLinear":
        inputs = inputs * 10
    model = build(case)
    expected = reference(model, inputs)
    actual = Interpreter(model, "one.onnx")(torch.from_numpy(inputs))
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        assert one.numpy().shape == other.shape
        np.testing.assert_allclose(one.numpy().astype(other.dtype), other, rtol=1e-5, atol=1e-5)


def test_every_operator_of_the_table_has_a_case() -> None:
    elsewhere = {"And", "ConstantOfShape", "Log", "Not", "Or", "Range", "Sqrt"}
    assert set(OPERATORS) - {case.kind for case in CASES} == elsewhere


def test_shapes_and_ranges_are_computed_as_the_runtime_computes_them(reference) -> None:
    """sqrt(x * x) and log(exp(x)), masked by a lower triangle whose size follows from the input's own shape."""
    text = """
    <ir_version: 8, opset_import: ["" : 17]> g (float[4, 4] x) => (float[4, 4] y) {
        shape = Shape (x)
        first = Constant <value_ints = [0]> ()
        zero = Constant <value_int = 0> ()
        one = Constant <value_int = 1> ()
        size_row = Gather <axis = 0> (shape, first)
        size = Squeeze (size_row)
        rows = Range (zero, size, one)
        axis = Constant <value_ints = [1]> ()
        column = Unsqueeze (rows, axis)
        below = Less (rows, column)
        same = Equal (rows, column)
        either = Or (below, same)
        not_above = Not (either)
        above = Not (not_above)
        kept = And (above, either)
        blank = ConstantOfShape <value = float[1] {-2.0}> (shape)
        square = Mul (x, x)
        root = Sqrt (square)
        power = Exp (x)
        same_again = Log (power)
        both = Add (root, same_again)
        y = Where (kept, both, blank)
    }"""
    model = onnx.parser.parse_model(text)
    inputs = draw(4, 4)
    actual = Interpreter(model, "one.onnx")(torch.from_numpy(inputs))[0]
    np.testing.assert_allclose(actual.numpy(), reference(model, inputs)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (row("Det"), "'y0' ('Det') cannot be trained on"),
        (image("MaxPool", kernel_shape=[2, 2])._replace(outputs=2), "its indices are asked for"),
        (image("Resize", None, np.array([1, 1, 2, 2], np.float32), mode="cubic"), "nearest and linear are known"),
        (row("Cast", to=TensorProto.FLOAT16), "it casts to FLOAT16"),
        (row("CumSum", whole(1), reverse=1), "it sums backwards"),
        (row("Relu")._replace(opset=12), "opset 12 cannot be trained on"),
        (row("Reshape", whole(7, 7)), "'y0' ('Reshape')"),
    ],
)
def test_what_has_no_form_with_gradients_is_refused_by_name(case: Case, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        Interpreter(build(case), "one.onnx")(torch.from_numpy(draw(*case.shape)))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
