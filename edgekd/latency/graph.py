"""An ONNX graph as the predictor sees it: one cost record per operator that the runtime really executes."""

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Literal

from onnx import ModelProto, NodeProto

from edgekd.latency.extent import ACTIVATIONS, Extent, extent
from edgekd.latency.fusion import Folding, as_it_is, fold
from edgekd.latency.memory import peak_activation_bytes
from edgekd.latency.operators import classify, integers, macs, text, weight_name
from edgekd.latency.wiring import Wiring, wire

Precision = Literal["fp32", "fp16", "int8"]
ITEM_BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 1}
HAS_INTEGER_KERNEL = frozenset(
    {
        *("conv_1x1", "conv_3x3", "conv_other", "conv_grouped", "conv_depthwise_3x3", "conv_depthwise"),
        *("gemm", "recurrent", "elementwise", "pool", "reduce", "data_movement", "view"),
    }
)
"""Operator classes that turn int8 when a model is looked at as if it were quantized."""


@dataclass(frozen=True)
class NodeCost:
    """What one executed operator works on, at batch 1. `weights` are the stored elements that it reads."""

    name: str
    operator: str
    precision: Precision
    macs: int
    weights: int
    elements_read: int
    elements_written: int
    type: str = ""
    """The ONNX operator; with "_outer" where it reduces all but the last dimension, which takes other kernels."""
    extent: Extent = field(default_factory=dict, compare=False)
    variant: str = ""
    """What else decides its kernel: "_nchwc" where it works on blocks of channels, "_symmetric" where an integer
    convolution fills them, "_rows" where it transposes whole rows and "_far" where it does so with more than one
    dimension."""
    fused: str = ""
    """The activation that the operator does by the way."""
    steps: int = 0
    """Elements that a pool looks at, rows that a transpose moves, or what an integer convolution goes through."""

    @property
    def kernel(self) -> str:
        """What x86 machines price it by: class, operator and variant, as "data_movement/Transpose_rows"."""
        return f"{self.operator}/{self.type}{self.variant}"

    @property
    def bytes_read(self) -> int:
        """Activations and weights read, in bytes of the node's precision."""
        return (self.elements_read + self.weights) * ITEM_BYTES[self.precision]

    @property
    def bytes_written(self) -> int:
        """Activations written, in bytes of the node's precision."""
        return self.elements_written * ITEM_BYTES[self.precision]


@dataclass(frozen=True)
class GraphSummary:
    """A model at batch 1. `operators` counts the file's nodes by ONNX type; `nodes` are what is left after folding;
    `hidden` counts the If, Loop and Scan nodes among them, whose bodies were not looked into; `unsized` names those
    without multiply-accumulates that write a tensor whose size is known only when they run, and that was counted as one
    element. `weight_bytes` is the size of the stored tensors, `activation_bytes` the peak of the live activations."""

    macs: int
    params: int
    operators: dict[str, int]
    nodes: tuple[NodeCost, ...]
    hidden: int
    unsized: tuple[str, ...]
    weight_bytes: int
    activation_bytes: int

    @property
    def footprint(self) -> int:
        """Bytes that one inference goes through: weights and live activations."""
        return self.weight_bytes + self.activation_bytes

    @property
    def precision(self) -> Precision:
        """The precision in which most multiply-accumulates are done."""
        share: Counter[Precision] = Counter()
        for node in self.nodes:
            share[node.precision] += node.macs
        return max(share, key=lambda name: share[name]) if share else "fp32"


def summarise(model: ModelProto, *, optimised: bool = False) -> GraphSummary:
    """Return MACs, parameters and the cost records of a model, a free batch dimension counted as one.

    Parameters are the elements of stored floating-point and integer tensors except scales, zero points, shapes and
    indices. Bodies of If, Loop and Scan are not looked into; the node itself is of class "other". With `optimised` the
    graph is what the runtime executes, as `edgekd.latency.optimised.optimise` returns it, and nothing more is folded.
    Raises BadInput where the shapes that multiply-accumulates are counted from are not known before the model runs.
    """
    wiring = wire(model)
    folding = as_it_is(wiring) if optimised else fold(wiring)
    groups: dict[int, list[int]] = {at: [] for at in sorted(folding.result)}
    for at, host in enumerate(folding.host):
        if host >= 0:
            groups[host].append(at)
    nodes = tuple(_cost(at, members, wiring, folding) for at, members in groups.items())
    return GraphSummary(
        macs=sum(node.macs for node in nodes),
        params=sum(parameters(wiring).values()),
        operators=dict(sorted(Counter(node.op_type for node in model.graph.node).items())),
        nodes=nodes,
        hidden=sum(node.op_type in ("If", "Loop", "Scan") for node in wiring.nodes),
        unsized=tuple(_title(wiring.nodes[at]) for at in groups if wiring.unsized(wiring.nodes[at])),
        weight_bytes=sum(count * wiring.itemsize[name] for name, count in wiring.weights.items()),
        activation_bytes=peak_activation_bytes(wiring, folding),
    )


def as_if(nodes: tuple[NodeCost, ...], precision: Precision) -> tuple[NodeCost, ...]:
    """The same operators done in another precision; for int8, classes without an integer kernel stay as they are."""
    if precision != "int8":
        return tuple(replace(node, precision=precision) for node in nodes if node.operator != "quantize")
    return tuple(_as_integer(node) if node.operator in HAS_INTEGER_KERNEL else node for node in nodes)


def _as_integer(node: NodeCost) -> NodeCost:
    # Integer convolutions are done with the channels last; their activation is the range of their output.
    extent = {**node.extent, "last": 1, "activation": 0} if "last" in node.extent else node.extent
    return replace(node, precision="int8", extent=extent)


def _title(node: NodeProto) -> str:
    return f"{(node.name or ' '.join(node.output))[:60]!r} ({node.op_type[:40]})"


def _cost(at: int, members: list[int], wiring: Wiring, folding: Folding) -> NodeCost:
    node = wiring.nodes[at]
    inside = {name for member in members for name in wiring.nodes[member].output if name != folding.result[at]}
    read = {name for member in members for name in wiring.nodes[member].input if name} - inside
    activations = [name for name in read if name not in wiring.constants]
    elements_written = sum(wiring.elements(name) for name in node.output if name and name not in inside)
    if folding.result[at] not in node.output:
        elements_written += wiring.elements(folding.result[at])
    elements_read = sum(wiring.elements(name) for name in activations)
    if node.op_type.startswith(("Gather", "Slice")):
        elements_read = elements_written
    second = weight_name(node)
    kind = classify(node, wiring)
    return NodeCost(
        name=node.name or (node.output[0] if node.output else ""),
        operator=kind,
        precision=_precision(at, wiring, folding),
        macs=macs(node, wiring),
        weights=wiring.elements(second) if second in wiring.constants and macs(node, wiring) else 0,
        elements_read=elements_read,
        elements_written=elements_written,
        type=_type(node, members, wiring),
        variant=_variant(node, wiring),
        fused=text(node, "activation"),
        steps=_steps(node, kind, wiring),
        extent=_extent(members, wiring, extent(node, wiring)),
    )


def _extent(members: list[int], wiring: Wiring, own: Extent) -> Extent:
    """A node's sizes with what the nodes folded into it add."""
    folded = {wiring.nodes[member].op_type for member in members[1:]}
    more = {
        "activation": own.get("activation") or max((ACTIVATIONS.get(name, 0) for name in folded), default=0),
        "sum": own.get("sum") or int("Add" in folded),
        "bias": own.get("bias") or int("BatchNormalization" in folded),
    }
    return {**own, **{name: size for name, size in more.items() if name in own}}


def _variant(node: NodeProto, wiring: Wiring) -> str:
    if node.domain == "com.microsoft.nchwc" and not node.op_type.startswith("Reorder"):
        return "_nchwc"
    if node.op_type == "QLinearConv" and _is_symmetric(extent(node, wiring)):
        return "_symmetric"
    return _turn(node, wiring.shapes.get(node.input[0], ())) if node.op_type == "Transpose" else ""


def _is_symmetric(sizes: Extent) -> bool:
    """Whether ONNX Runtime's kernels for weights around zero take a convolution on x86, at half the time and less.

    Source: `MlasConvSymPackWSize` in its convsym.cpp, for AVX-512.
    """
    if not sizes:
        return False
    inside, outside, groups = sizes["inside"], sizes["outside"], sizes["groups"]
    if groups > 1:
        return inside == outside == 1 and groups % 16 == 0
    return inside % 4 == 0 and outside % 4 == 0 and outside >= 16


def _type(node: NodeProto, members: list[int], wiring: Wiring) -> str:
    if node.op_type == "Sigmoid" and len(members) > 1:
        return "QuickGelu"
    if not node.op_type.startswith("Reduce"):
        return node.op_type
    before, after = (wiring.shapes.get(name, ())[-1:] for name in (node.input[0], node.output[0]))
    return f"{node.op_type}_outer" if before == after and before != (1,) else node.op_type


def _turn(node: NodeProto, shape: tuple[int, ...]) -> str:
    """What kind of transpose it is. Dimensions of one count only where a single dimension may be the one that moves:
    the runtime does not look at their size there."""
    order = integers(node, "perm")
    real = [at for at in order if at < len(shape) and shape[at] > 1]
    if len(real) < 2 or real[-1] == max(real):
        return "_rows"
    others = ([at for at in order if at != moved] for moved in order)
    return "" if any(kept == sorted(kept) for kept in others) else "_far"


def _steps(node: NodeProto, kind: str, wiring: Wiring) -> int:
    if kind == "pool":
        return math.prod(integers(node, "kernel_shape")) * wiring.elements(node.output[0])
    if node.op_type == "QLinearConv":
        return _integer_steps(extent(node, wiring))
    if node.op_type == "Transpose":
        shape = wiring.shapes.get(node.input[0], ())
        order = integers(node, "perm")
        row = 1
        for last, moved in zip(range(len(shape) - 1, -1, -1), reversed(order), strict=False):
            if last != moved:
                break
            row *= shape[last]
        return wiring.elements(node.input[0]) // max(row, 1)
    return 0


def _integer_steps(sizes: Extent) -> int:
    """Of an integer convolution: products of four weights each for sixteen channels by the kernels for weights around
    zero, which fill up what is left of a vector; else the runs of channels that are copied together for every position
    of kernel and output. The depthwise kernels read the input where it lies, as does a product."""
    if not sizes or (sizes["groups"] > 1 and sizes["inside"] == sizes["outside"] == 1):
        return 0
    taps = sizes["kernel_height"] * sizes["kernel_width"]
    places = taps * sizes["height"] * sizes["width"]
    if _is_symmetric(sizes):
        return places * sizes["inside"] // 4 * -(-sizes["outside"] // 16)
    return places * sizes["groups"] if taps > 1 or sizes["stride"] > 1 else 0


def _precision(at: int, wiring: Wiring, folding: Folding) -> Precision:
    if at in folding.int8:
        return "int8"
    size = wiring.itemsize.get(folding.result[at], 4)
    return "fp16" if size == 2 else "fp32"


def parameters(wiring: Wiring) -> dict[str, int]:
    """Return the stored tensors that hold parameters, name to element count: those read as data, not as
    scale, zero point, shape, axes or index."""
    found: dict[str, int] = {}
    for node in wiring.nodes:
        for position, name in enumerate(node.input):
            if name in wiring.weights and _is_parameter(node, position, wiring.itemsize[name]):
                found[name] = wiring.weights[name]
    return found


_QUANTIZER_INPUTS = {
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "MatMulInteger": (2, 3),
    "ConvInteger": (2, 3),
}


def _is_parameter(node: NodeProto, position: int, itemsize: int) -> bool:
    if position in _QUANTIZER_INPUTS.get(node.op_type, ()) or node.op_type in ("Clip", "Resize", "Upsample"):
        return False
    return itemsize < 8
