"""Instructions that were counted, as work that turns into time: each node in its operator class and precision."""

import re
from collections.abc import Iterable
from typing import Protocol

from edgekd.latency.conversion import Work, weight_bytes
from edgekd.latency.graph import GraphSummary, Precision
from edgekd.latency.operators import CONVOLUTIONS, INTEGER_OPERATORS, PRODUCTS, class_of


class CountedInstructions(Protocol):
    """What is read of a node's instructions."""

    @property
    def total(self) -> int: ...
    @property
    def multiply_float(self) -> int: ...
    @property
    def multiply_int8(self) -> int: ...


class CountedNode(Protocol):
    """What is read of a node: its name in the optimised graph, its ONNX operator and its instructions."""

    @property
    def name(self) -> str: ...
    @property
    def operator(self) -> str: ...
    @property
    def instructions(self) -> CountedInstructions: ...


def works_of(nodes: Iterable[CountedNode], summary: GraphSummary) -> tuple[Work, ...]:
    """Return the counted nodes of a model as work.

    A node's class and its weights are those of the node of that name in the summary of the file; what the runtime
    inserted has the class of its operator, convolutions and products that cannot be found the likeliest.
    """
    known = {cost.name: cost for cost in summary.nodes}
    found = []
    for node in nodes:
        cost = known.get(plain_name(node.name))
        integer = node.operator in INTEGER_OPERATORS or node.instructions.multiply_int8 > 0
        precision: Precision = "int8" if integer else cost.precision if cost and cost.precision != "int8" else "fp32"
        multiply = node.instructions.multiply_float + node.instructions.multiply_int8
        found.append(
            Work(
                operator=cost.operator if cost else _likeliest(node.operator),
                precision=precision,
                multiply=multiply,
                other=max(node.instructions.total - multiply, 0),
                weight_bytes=weight_bytes(cost.weights, precision) if cost else 0,
            )
        )
    return tuple(found)


def plain_name(name: str) -> str:
    """The name that a node had before the runtime's passes numbered it anew."""
    return re.sub(r"(/duplicated|_token_\d+|_nchwc)+$", "", name)


def _likeliest(operator: str) -> str:
    if operator in CONVOLUTIONS:
        return "conv_1x1"
    return "gemm" if operator in PRODUCTS else class_of(operator)
