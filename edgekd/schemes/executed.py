"""A quantized graph as the target executes it: its operators, what each takes there, and how they hang together."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from pathlib import Path

from onnx import GraphProto, NodeProto, ValueInfoProto

from edgekd.device import DeviceProfile
from edgekd.latency.graph import NodeCost, Precision, summarise
from edgekd.latency.optimised import optimise
from edgekd.latency.predictor import milliseconds
from edgekd.latency.x86 import nanoseconds, per_inference
from edgekd.latency.x86_prediction import is_x86_profile
from edgekd.this_machine import is_x86

PASSES = ("QuantizeLinear", "DequantizeLinear")
Price = Callable[[NodeCost], float]


@dataclass(frozen=True)
class Executed:
    """An optimised graph: its nodes in order and what they work on. `ends` are its inputs and its outputs, `layout`
    says that float convolutions work on blocks of channels, `fixed` is nanoseconds that no operator takes."""

    nodes: tuple[NodeProto, ...]
    costs: tuple[NodeCost, ...]
    price: Price
    ends: tuple[frozenset[str], frozenset[str]]
    shapes: dict[str, tuple[int, ...]]
    layout: bool
    fixed: float

    @cached_property
    def prices(self) -> tuple[float, ...]:
        """Nanoseconds of every node."""
        return tuple(self.price(cost) for cost in self.costs)

    @cached_property
    def total(self) -> float:
        """Nanoseconds of one inference."""
        return self.fixed + sum(self.prices)

    def is_int8(self, at: int) -> bool:
        """Whether a node computes in int8."""
        return self.costs[at].precision == "int8"

    def source(self, name: str) -> str:
        """The tensor that an operator wrote, of which `name` is the quantized or dequantized form."""
        while name in self.maker and self.nodes[self.maker[name]].op_type in PASSES:
            name = self.nodes[self.maker[name]].input[0]
        return name

    def pass_price(self, operator: str, name: str, float_node: int | None) -> float:
        """Nanoseconds of turning a tensor by a QuantizeLinear or DequantizeLinear beside a node that is float."""
        shape = self.shapes.get(name, ())
        kinds: list[tuple[str, Precision, str]] = [("quantize", "fp32", operator)]
        convolution = float_node is not None and self.costs[float_node].operator.startswith("conv_")
        if self.layout and convolution and len(shape) == 4:
            reorder = "ReorderInput" if operator == "DequantizeLinear" else "ReorderOutput"
            kinds += [("data_movement", "int8", "Transpose"), ("data_movement", "fp32", reorder)]
        count = prod(shape)
        return sum(self.price(NodeCost("", kind, how, 0, 0, count, count, type_)) for kind, how, type_ in kinds)

    @cached_property
    def maker(self) -> dict[str, int]:
        """Tensor to the node that writes it."""
        return {name: at for at, node in enumerate(self.nodes) for name in node.output if name}

    @cached_property
    def readers(self) -> dict[str, list[int]]:
        """Tensor to the nodes that read it."""
        found: dict[str, list[int]] = {}
        for at, node in enumerate(self.nodes):
            for name in node.input:
                found.setdefault(name, []).append(at)
        return found


def execute(model: Path, profile: DeviceProfile, threads: int) -> Executed:
    """Return what ONNX Runtime on the device makes of a file.

    Raises:
        BadInput: ONNX Runtime does not load the file, or its work cannot be counted.
    """
    x86 = is_x86_profile(profile)
    # Layout is this processor's: it stands for the device only where both are x86.
    layout = x86 and is_x86()
    graph = optimise(model, arm=not x86, layout=layout)
    names = [node.name for node in graph.graph.node]
    for at, node in enumerate(graph.graph.node):
        node.name = str(at)  # the runtime leaves some without a name, and some of one name
    summary = summarise(graph, optimised=True)
    kept = [int(cost.name) for cost in summary.nodes]  # without what only constants go into
    for node, name in zip(graph.graph.node, names, strict=True):
        node.name = name
    return Executed(
        nodes=tuple(graph.graph.node[at] for at in kept),
        costs=summary.nodes,
        price=price_on(profile, threads),
        ends=(_names(graph.graph.input), _names(graph.graph.output)),
        shapes=_shapes(graph.graph),
        layout=layout,
        fixed=per_inference() if x86 else 0.0,
    )


def price_on(profile: DeviceProfile, threads: int) -> Price:
    """Return the function from an operator to nanoseconds on a device."""
    if is_x86_profile(profile):
        return nanoseconds
    return partial(_arm_nanoseconds, profile=profile, threads=threads)


def _names(values: Iterable[ValueInfoProto]) -> frozenset[str]:
    return frozenset(value.name for value in values)


def _shapes(graph: GraphProto) -> dict[str, tuple[int, ...]]:
    values = [*graph.input, *graph.value_info, *graph.output]
    return {one.name: tuple(dim.dim_value or 1 for dim in one.type.tensor_type.shape.dim) for one in values}


def _arm_nanoseconds(cost: NodeCost, *, profile: DeviceProfile, threads: int) -> float:
    return 1e6 * milliseconds(cost, profile.latency, threads)
