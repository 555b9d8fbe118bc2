"""What a node is to the predictor: its operator class and its multiply-accumulates."""

import math
from collections.abc import Callable

from onnx import NodeProto, helper

from edgekd.errors import BadInput
from edgekd.latency.wiring import Wiring

CLASSES = (
    "conv_1x1",
    "conv_3x3",
    "conv_other",
    "conv_grouped",
    "conv_depthwise_3x3",
    "conv_depthwise",
    "gemm",
    "matmul",
    "recurrent",
    "elementwise",
    "activation",
    "pool",
    "reduce",
    "data_movement",
    "quantize",
    "view",
    "other",
)
"""Operator classes. `conv_depthwise_3x3` has stride 1 (it has kernels of its own), `conv_depthwise` is the rest;
`gemm` multiplies by stored weights, `matmul` two activations; `activation` needs exp or a division per element,
`elementwise` does not; `view` changes the shape only and costs nothing but its dispatch."""

_BY_OPERATOR = {
    "elementwise": "Add Sub Mul Div Min Max Relu Clip LeakyRelu PRelu Neg Abs Floor Ceil Round Sign And Or Not Xor "
    "Equal Greater GreaterOrEqual Less LessOrEqual Where Cast BatchNormalization QLinearAdd QLinearMul "
    "QLinearLeakyRelu Mod Sum ThresholdedRelu",
    "activation": "Sigmoid Tanh Erf Exp Log Sqrt Pow Reciprocal HardSwish HardSigmoid Swish Gelu FastGelu QuickGelu "
    "Elu Celu Selu Softplus Softsign Mish Softmax LogSoftmax QLinearSigmoid QLinearSoftmax LayerNormalization "
    "SkipLayerNormalization RMSNormalization GroupNormalization InstanceNormalization LRN LpNormalization Sin "
    "Cos",
    "pool": "MaxPool NhwcMaxPool AveragePool LpPool QLinearAveragePool",
    "reduce": "GlobalAveragePool GlobalMaxPool QLinearGlobalAveragePool ReduceMean ReduceSum ReduceMax ReduceMin "
    "ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSumExp ArgMax ArgMin CumSum TopK",
    "data_movement": "Concat QLinearConcat Split Slice Gather GatherElements GatherND ScatterElements ScatterND Pad "
    "Transpose Tile Expand Resize Upsample DepthToSpace SpaceToDepth ReorderInput ReorderOutput OneHot Range "
    "ConstantOfShape Compress NonZero",
    "quantize": "QuantizeLinear DequantizeLinear DynamicQuantizeLinear",
    "view": "Reshape Flatten Squeeze Unsqueeze Identity Dropout Shape Size",
    "recurrent": "LSTM GRU RNN DynamicQuantizeLSTM",
}
_DOMAINS = ("", "ai.onnx", "com.microsoft", "com.microsoft.nchwc")
_CLASS_OF = {operator: kind for kind, names in _BY_OPERATOR.items() for operator in names.split()}
_WEIGHT_AT = {"QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3}
"""Position of the second factor among the inputs, where it is not 1."""
PRODUCTS = {
    "MatMul",
    "Gemm",
    "FusedGemm",
    "FusedMatMul",
    "MatMulInteger",
    "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat",
    "QLinearMatMul",
    "QGemm",
}
CONVOLUTIONS = {"Conv", "FusedConv", "ConvInteger", "QLinearConv", "ConvTranspose"}
INTEGER_OPERATORS = {
    "QLinearConv",
    "ConvInteger",
    "MatMulInteger",
    "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat",
    "QLinearMatMul",
    "QGemm",
    "QLinearAdd",
    "QLinearMul",
    "QLinearConcat",
    "QLinearSigmoid",
    "QLinearLeakyRelu",
    "QLinearSoftmax",
    "QLinearAveragePool",
    "QLinearGlobalAveragePool",
    "DynamicQuantizeLSTM",
}
"""Operators that compute in int8 whatever surrounds them."""


def attribute(node: NodeProto, name: str, default: int) -> int:
    """Return an integer attribute of a node."""
    for entry in node.attribute:
        if entry.name == name:
            return int(helper.get_attribute_value(entry))
    return default


def integers(node: NodeProto, name: str) -> list[int]:
    """Return an attribute that is a list of integers; empty where the node does not have it."""
    return next((list(entry.ints) for entry in node.attribute if entry.name == name), [])


def text(node: NodeProto, name: str) -> str:
    """Return an attribute that is a word; empty where the node does not have it."""
    return next((entry.s.decode(errors="replace") for entry in node.attribute if entry.name == name), "")


def class_of(operator: str) -> str:
    """Return the class of an ONNX operator that is neither convolution nor product."""
    return _CLASS_OF.get(operator, "other")


def classify(node: NodeProto, wiring: Wiring) -> str:
    """Return the operator class of a node, one of CLASSES; "other" for what is not known here."""
    if node.domain not in _DOMAINS or not node.input:
        return "other"
    if node.op_type in CONVOLUTIONS:
        return _convolution_class(node, wiring)
    if node.op_type in PRODUCTS or node.op_type == "Einsum":
        second = weight_name(node)
        return "gemm" if second in wiring.constants else "matmul"
    return class_of(node.op_type)


def weight_name(node: NodeProto) -> str:
    """Name of the second factor of a convolution, product or recurrent node; empty where there is none."""
    at = _WEIGHT_AT.get(node.op_type, 1)
    return node.input[at] if len(node.input) > at else ""


def macs(node: NodeProto, wiring: Wiring) -> int:
    """Multiply-accumulates of one inference; zero for operators that are not sums of products.

    Convolution: output elements x input channels per group x kernel size; product: output elements x inner dimension;
    both without bias. Raises BadInput where the shapes they need are not known before the model runs.
    """
    count = _MACS.get(node.op_type) if node.domain in _DOMAINS and node.input else None
    return count(node, wiring) if count else 0


def _shape(node: NodeProto, name: str, wiring: Wiring, *, rank: int = 0) -> tuple[int, ...]:
    """A tensor's shape, of at least `rank` dimensions."""
    if len(wiring.shapes.get(name, ())) < rank or name not in wiring.shapes:
        raise BadInput(
            f"the shape of {name[:60]!r} at node {node.name[:60]!r} ({node.op_type}) is known only when the model "
            "runs, so its work cannot be counted; export the model with fixed shapes"
        )
    return wiring.shapes[name]


def _convolution_class(node: NodeProto, wiring: Wiring) -> str:
    weight = _shape(node, weight_name(node), wiring, rank=3)
    groups = attribute(node, "group", 1)
    if groups > 1:
        channels = weight[0] if node.op_type == "ConvTranspose" else weight[1] * groups
        if groups != channels:
            return "conv_grouped"
        same_size = wiring.elements(node.input[0]) == wiring.elements(node.output[0])
        return "conv_depthwise_3x3" if weight[2:] == (3, 3) and same_size else "conv_depthwise"
    kernel = weight[2:]
    if all(side == 1 for side in kernel):
        return "conv_1x1"
    return "conv_3x3" if kernel == (3, 3) else "conv_other"


def _convolution_macs(node: NodeProto, wiring: Wiring) -> int:
    weight = _shape(node, weight_name(node), wiring, rank=3)
    # A transposed convolution spreads every input element over weight[1:]; a plain one gathers weight[1:] per output.
    over = _shape(node, node.input[0] if node.op_type == "ConvTranspose" else node.output[0], wiring)
    return math.prod(over) * math.prod(weight[1:])


def _product_macs(node: NodeProto, wiring: Wiring) -> int:
    first = _shape(node, node.input[0], wiring, rank=1)
    _shape(node, node.output[0], wiring)
    inner = first[0] if attribute(node, "transA", 0) and len(first) > 1 else first[-1]
    return wiring.elements(node.output[0]) * inner


def _einsum_macs(node: NodeProto, wiring: Wiring) -> int:
    sizes: dict[str, int] = {}
    for labels, name in zip(
        text(node, "equation").split("->")[0].replace(" ", "").split(","), node.input, strict=False
    ):
        sizes.update(zip(labels, _shape(node, name, wiring), strict=False))
    total = 1
    for size in sizes.values():
        total *= size
    return total


def _recurrent_macs(node: NodeProto, wiring: Wiring) -> int:
    """Every step multiplies by the input weights (directions, gates x hidden, input) and the recurrent ones."""
    data, weight, recurrence = [*node.input, "", ""][:3]
    steps, batch, features = _shape(node, data, wiring, rank=3)[:3]
    directions, rows = _shape(node, weight, wiring, rank=3)[:2]
    hidden = _shape(node, recurrence, wiring, rank=3)[-1]
    return steps * batch * directions * rows * (features + hidden)


def _quantized_lstm_macs(node: NodeProto, wiring: Wiring) -> int:
    """As `_recurrent_macs`; the stored weights are transposed, (directions, input or hidden, gates x hidden)."""
    data, _, recurrence = [*node.input, "", ""][:3]
    steps, batch, features = _shape(node, data, wiring, rank=3)[:3]
    directions, hidden, rows = _shape(node, recurrence, wiring, rank=3)[:3]
    return steps * batch * directions * rows * (features + hidden)


_MACS: dict[str, Callable[[NodeProto, Wiring], int]] = {
    **dict.fromkeys(CONVOLUTIONS, _convolution_macs),
    **dict.fromkeys(PRODUCTS, _product_macs),
    "Einsum": _einsum_macs,
    "LSTM": _recurrent_macs,
    "GRU": _recurrent_macs,
    "RNN": _recurrent_macs,
    "DynamicQuantizeLSTM": _quantized_lstm_macs,
}
