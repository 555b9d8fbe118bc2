"""Which nodes of a quantized graph had better stay float, so that the rest is worth its Q/DQ pairs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx

from edgekd.latency.counted import plain_name
from edgekd.schemes.cut import cheapest
from edgekd.schemes.executed import PASSES, Executed

NEVER = float("inf")
WORTHWHILE = 0.02
"""Share of the predicted cost below which nothing is proposed: predictions are no better than that."""
_FLOAT_INSIDE = {"DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulNBits"}
"""Integer operators that read and write floats, so that no tensor beside them has to change."""


def blocks_to_leave(graph: Executed, quantized: Path) -> tuple[tuple[str, ...], float | None]:
    """Return names of nodes to leave float, as the quantized file has them, and nanoseconds of what is predicted then.

    Nothing, and None, where the gain is below `WORTHWHILE`.
    """
    outside = len(graph.nodes)
    prices = {at: _prices(graph, at) for at in _operators(graph)} | {outside: (NEVER, 0.0)}
    passes = [*_passes(graph), *_passes_outside(graph, outside)]
    floats, cheap = cheapest(prices, passes)
    int8 = {at for at in prices if at != outside and graph.is_int8(at)}
    now = sum(price[0 if at in int8 else 1] for at, price in prices.items())
    now += sum(price for one, other, price in passes if one in int8 and other not in int8)
    if now - cheap < WORTHWHILE * graph.total:
        return (), None
    known = {node.name for node in onnx.load(quantized, load_external_data=False).graph.node} - {""}
    names = {plain_name(graph.nodes[at].name) for at in floats & int8}
    return tuple(sorted(names & known)), graph.total - (now - cheap)


def _operators(graph: Executed) -> Iterator[int]:
    return (at for at, node in enumerate(graph.nodes) if node.op_type not in PASSES)


def _prices(graph: Executed, at: int) -> tuple[float, float]:
    """What an operator takes in int8 and in float."""
    cost = graph.costs[at]
    if not graph.is_int8(at):
        return NEVER, graph.price(cost)
    plain = replace(cost, precision="fp32", type=cost.type.removeprefix("QLinear"))
    return graph.price(cost), graph.price(plain)


def _passes(graph: Executed) -> Iterator[tuple[int, int, float]]:
    """For each tensor between two operators: what it takes to turn it, where one is int8 and the other is float."""
    for at in _operators(graph):
        for name in graph.nodes[at].input:
            source = graph.source(name)
            before = graph.maker.get(source)
            if before is None or {graph.nodes[before].op_type, graph.nodes[at].op_type} & _FLOAT_INSIDE:
                continue
            if not (graph.is_int8(before) and not graph.is_int8(at) and name == source):
                yield before, at, graph.pass_price("DequantizeLinear", source, at)
            yield at, before, graph.pass_price("QuantizeLinear", source, before)


def _passes_outside(graph: Executed, outside: int) -> Iterator[tuple[int, int, float]]:
    """The same for the graph's inputs and outputs, which are floats."""
    inputs, outputs = graph.ends
    for at in _operators(graph):
        for name in {graph.source(name) for name in graph.nodes[at].input} & inputs:
            yield at, outside, graph.pass_price("QuantizeLinear", name, None)
    for name in outputs:
        source = graph.source(name)
        if source in graph.maker and source != name:
            yield graph.maker[source], outside, graph.pass_price("DequantizeLinear", source, None)
