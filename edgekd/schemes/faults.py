"""The layers beside which quantization left Q/DQ pairs, casts or transposes: why, and what would mend it."""

from collections import Counter, defaultdict
from pathlib import Path

import onnx

from edgekd.device import DeviceProfile
from edgekd.latency.counted import plain_name
from edgekd.latency.x86_prediction import is_x86_profile
from edgekd.quantization import Fault
from edgekd.schemes.executed import PASSES, Executed

SMALLEST = 0.005
"""Share of the predicted cost below which what is left beside a node is not worth a word."""
_KERNELS = {
    *("Add", "AveragePool", "Concat", "Conv", "FusedConv", "Gemm", "GlobalAveragePool", "LeakyRelu", "MatMul"),
    *("FusedMatMul", "Mul", "Resize", "Sigmoid", "Softmax", "Where", "MaxPool", "Reshape", "Transpose", "Split"),
}
"""Operators of which ONNX Runtime's CPU provider has an integer form."""
_ACTIVATIONS = {"Elu", "Erf", "Gelu", "HardSwish", "Mish", "QuickGelu", "Selu", "Softplus", "Swish", "Tanh"}


def find_faults(graph: Executed, quantized: Path, profile: DeviceProfile) -> tuple[Fault, ...]:
    """Return the nodes beside which something was left, most expensive first."""
    file = onnx.load(quantized, load_external_data=False).graph
    known = {node.name for node in file.node}
    neighbours = {at: _neighbours(graph, at, known) for at in range(len(graph.nodes))}
    beside: dict[int, list[int]] = defaultdict(list)
    parts: dict[int, float] = defaultdict(float)
    for at, there in neighbours.items():
        for neighbour in there:
            beside[neighbour].append(at)
            parts[neighbour] += graph.prices[at] / len(there) / graph.total
    found = [_fault(graph, at, left, share=parts[at], file=file, profile=profile) for at, left in beside.items()]
    return tuple(sorted((one for one in found if one.share >= SMALLEST), key=lambda one: (-one.share, one.node)))


def _neighbours(graph: Executed, at: int, known: set[str]) -> list[int]:
    """The operators that a Q, DQ, cast or transpose exists for; none for those at the graph's ends or of its own."""
    node = graph.nodes[at]
    if node.op_type == "QuantizeLinear":
        before = graph.maker.get(node.input[0])
        return [] if before is None or graph.nodes[before].op_type in PASSES else [before]
    added = node.op_type in ("Cast", "Transpose") and plain_name(node.name) not in known
    if node.op_type != "DequantizeLinear" and not added:
        return []
    return [one for one in graph.readers.get(node.output[0], []) if graph.nodes[one].op_type not in PASSES]


def _fault(
    graph: Executed, at: int, left: list[int], *, share: float, file: onnx.GraphProto, profile: DeviceProfile
) -> Fault:
    node = graph.nodes[at]
    operators = Counter(graph.nodes[one].op_type for one in left)
    return Fault(
        node=plain_name(node.name) or node.output[0],
        operator=node.op_type,
        left=dict(sorted(operators.items())),
        share=round(share, 4),
        why=_why(graph, at, set(operators), file, profile),
        mend=_mend(graph, at),
    )


def _why(graph: Executed, at: int, left: set[str], file: onnx.GraphProto, profile: DeviceProfile) -> str:
    node = graph.nodes[at]
    if not left & set(PASSES):
        return f"its data come in another {'type' if 'Cast' in left else 'order'} than {node.op_type} works on"
    if graph.is_int8(at):
        return f"{node.op_type} hands out floats, which are quantized again"
    if node.op_type not in _KERNELS:
        return f"ONNX Runtime has no integer kernel for {node.op_type}"
    made_by = {name: one for one in file.node for name in one.output}
    original = next((one for one in file.node if one.name == plain_name(node.name)), None)
    read = [made_by[name] for name in (original.input if original else ()) if name in made_by]
    if any(one.op_type != "DequantizeLinear" for one in read):
        return "one of its inputs is not quantized"
    if is_x86_profile(profile) and _signed(file):
        return "x86 has integer kernels for unsigned activations only"
    several = [one for one in read if sum(one.output[0] in other.input for other in file.node) > 1]
    if several:
        return "what it reads is dequantized once for several readers"
    return "its result is not quantized, or ONNX Runtime does not fuse it so"


def _signed(file: onnx.GraphProto) -> bool:
    """Whether activations are quantized to int8; those of weights and biases are stored so."""
    points = {node.input[2] for node in file.node if node.op_type == "QuantizeLinear" and len(node.input) > 2}
    return any(one.name in points and one.data_type == onnx.TensorProto.INT8 for one in file.initializer)


def _mend(graph: Executed, at: int) -> str:
    node = graph.nodes[at]
    if node.op_type == "HardSigmoid":
        gated = {graph.source(name) for one in graph.readers.get(node.output[0], []) for name in _read(graph, one)}
        if graph.source(node.input[0]) in gated:
            return "train the student with ReLU instead of HardSwish"
        return "train the student with Sigmoid, which has an integer kernel, instead of HardSigmoid"
    if node.op_type in _ACTIVATIONS:
        return f"train the student with ReLU instead of {node.op_type}"
    return "leave the block around it float"


def _read(graph: Executed, at: int) -> list[str]:
    """What an operator reads, or what is read from its tensor when it only turns that."""
    if graph.nodes[at].op_type not in PASSES:
        return list(graph.nodes[at].input)
    return [name for one in graph.readers.get(graph.nodes[at].output[0], []) for name in _read(graph, one)]
