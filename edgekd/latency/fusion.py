"""What ONNX Runtime will make of a graph: which nodes it folds into another, and which it computes in int8.

A reading of its published fusions at the default optimisation level, checked against the nodes its profiler lists:
batch norm, residual addition and activation go into the convolution; x * sigmoid(x) is one operator; a Q/DQ pair around
a quantizable operator turns that operator into its integer form; whatever Q/DQ is left over stays a pass over memory of
its own.
"""

from dataclasses import dataclass

from onnx import NodeProto

from edgekd.latency.operators import INTEGER_OPERATORS
from edgekd.latency.wiring import Wiring

_HOSTS = {"Conv", "FusedConv", "Gemm", "FusedGemm"}
_RESCALED = {"MatMulInteger", "ConvInteger"}
"""Their int32 result is cast, scaled and shifted within the same operator (MatMulIntegerToFloat)."""
_ACTIVATIONS = {"Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid"}
_QUANTIZABLE = {
    *("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Mul", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool"),
    *("Sigmoid", "LeakyRelu", "Softmax", "Relu", "Clip", "Resize", "Pad", "Slice", "Split", "Gather", "Where"),
    *("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "ReduceMean"),
}
"""Operators with an integer kernel, or that move bytes whatever these mean (onnxruntime.quantization's registry)."""
_FLOAT_OUT = {"Gemm", "MatMul"}
"""These take int8 in and give float out when nothing quantizes their result."""
_STORED_SECOND = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_Q, _DQ = "QuantizeLinear", "DequantizeLinear"


@dataclass(frozen=True)
class Folding:
    """`host`: node to the node it disappears into (itself where it stays); -1 where it disappears altogether.
    `result`: staying node to the tensor it finally writes. `int8`: the nodes computed in int8."""

    host: tuple[int, ...]
    result: dict[int, str]
    int8: frozenset[int]


def fold(wiring: Wiring) -> Folding:
    """Return what the runtime folds and what it computes in int8."""
    host, result = _fuse(wiring)
    int8 = frozenset(at for at in result if _is_int8(at, result[at], wiring))
    for at, node in enumerate(wiring.nodes):
        if host[at] != at or node.op_type not in (_Q, _DQ) or not node.input or not node.output:
            continue
        if node.op_type == _DQ:
            readers = wiring.consumers.get(node.output[0], ())
            free = bool(readers) and all(host[reader] in int8 for reader in readers)
            free = free and node.output[0] not in wiring.outputs
        else:
            free = node.input[0] in wiring.producer and host[wiring.producer[node.input[0]]] in int8
        if free:
            host[at] = -1
            result.pop(at)
    return Folding(tuple(host), result, int8)


def as_it_is(wiring: Wiring) -> Folding:
    """Return what a graph executes that the runtime has optimised already: every node, whose integers are its own."""
    hosts = tuple(-1 if set(node.output) <= wiring.constants else at for at, node in enumerate(wiring.nodes))
    result = {at: wiring.nodes[at].output[0] for at, host in enumerate(hosts) if host == at and wiring.nodes[at].output}
    int8 = {at for at, name in result.items() if _is_integer(wiring.nodes[at], name, wiring)}
    return Folding(hosts, result, frozenset(int8))


def _is_integer(node: NodeProto, result: str, wiring: Wiring) -> bool:
    return node.op_type in INTEGER_OPERATORS or (wiring.itemsize.get(result) == 1 and node.op_type not in (_Q, _DQ))


def _fuse(wiring: Wiring) -> tuple[list[int], dict[int, str]]:
    host: list[int] = []
    result: dict[int, str] = {}
    activated: set[int] = set()
    for at, node in enumerate(wiring.nodes):
        outputs = [name for name in node.output if name]
        if outputs and all(name in wiring.constants for name in outputs):
            host.append(-1)
            continue
        into = _convolution_before(at, wiring, host, result, activated)
        into = _sigmoid_before(at, wiring, host) if into is None else into
        if into is None:
            host.append(at)
            result[at] = outputs[0] if outputs else ""
            continue
        host.append(into)
        result[into] = outputs[0]
        if node.op_type in _ACTIVATIONS:
            activated.add(into)
    return host, result


def _convolution_before(
    at: int, wiring: Wiring, host: list[int], result: dict[int, str], activated: set[int]
) -> int | None:
    """The convolution or product that node `at` can be folded into, if any."""
    node = wiring.nodes[at]
    for name in node.input:
        maker = wiring.producer.get(name)
        if maker is None or host[maker] == -1 or len(wiring.consumers[name]) > 1 or name in wiring.outputs:
            continue
        into = host[maker]
        if wiring.nodes[into].op_type in _RESCALED and result[into] == name and node.op_type in ("Cast", "Mul", "Add"):
            return into
        if wiring.nodes[into].op_type not in _HOSTS or result[into] != name or into in activated:
            continue
        if node.op_type in _ACTIVATIONS:
            return into
        convolution = wiring.nodes[into].op_type.endswith("Conv")
        others = [other for other in node.input if other and other != name]
        constant = all(other in wiring.constants for other in others)
        if convolution and constant and node.op_type in ("BatchNormalization", "Mul", "Add"):
            return into
        same_shape = all(wiring.shapes.get(other) == wiring.shapes.get(name) for other in others)
        if convolution and node.op_type == "Add" and same_shape:
            return into
    return None


def _sigmoid_before(at: int, wiring: Wiring, host: list[int]) -> int | None:
    """The Sigmoid that this Mul makes a SiLU of: x * sigmoid(x) is executed as one QuickGelu."""
    node = wiring.nodes[at]
    if node.op_type != "Mul" or len(node.input) != 2:
        return None
    for gate, gated in (node.input, reversed(node.input)):
        maker = wiring.producer.get(gate)
        if maker is None or wiring.nodes[maker].op_type != "Sigmoid" or host[maker] != maker:
            continue
        if list(wiring.nodes[maker].input[:1]) == [gated] and len(wiring.consumers[gate]) == 1:
            return maker
    return None


def _is_int8(at: int, result: str, wiring: Wiring) -> bool:
    node = wiring.nodes[at]
    if node.op_type in INTEGER_OPERATORS:
        return True
    if node.op_type not in _QUANTIZABLE:
        return False
    for position, name in enumerate(node.input):
        made_by_dq = name in wiring.producer and wiring.nodes[wiring.producer[name]].op_type == _DQ
        needed = name not in wiring.constants if name else False
        needed = needed or (position == 1 and node.op_type in _STORED_SECOND)
        if needed and not made_by_dq:
            return False
    if not any(name and name not in wiring.constants for name in node.input):
        return False
    readers = wiring.consumers.get(result, ())
    quantized = bool(readers) and all(wiring.nodes[reader].op_type == _Q for reader in readers)
    return node.op_type in _FLOAT_OUT or (quantized and result not in wiring.outputs)
