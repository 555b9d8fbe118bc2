from dataclasses import dataclass

from edgekd.latency.counted import works_of
from edgekd.latency.graph import GraphSummary, NodeCost


@dataclass(frozen=True)
class Executed:
    total: int
    multiply_float: int = 0
    multiply_int8: int = 0


@dataclass(frozen=True)
class Node:
    name: str
    operator: str
    instructions: Executed


def summary(*nodes: NodeCost) -> GraphSummary:
    return GraphSummary(
        macs=0, params=0, operators={}, nodes=nodes, hidden=0, unsized=(), weight_bytes=0, activation_bytes=0
    )


def test_counted_nodes_take_class_and_weights_from_the_file():
    known = NodeCost("/conv", "conv_3x3", "int8", 900, 144, 100, 100)
    (found,) = works_of([Node("/conv_token_12", "QLinearConv", Executed(1000, multiply_int8=300))], summary(known))
    assert (found.operator, found.precision, found.weight_bytes) == ("conv_3x3", "int8", 144)
    assert (found.multiply, found.other) == (300, 700)


def test_an_operator_that_stayed_float_in_an_int8_file_is_float():
    known = NodeCost("/conv", "conv_1x1", "int8", 900, 144, 100, 100)
    (found,) = works_of([Node("/conv", "FusedConv", Executed(1000, multiply_float=250))], summary(known))
    assert (found.precision, found.weight_bytes) == ("fp32", 4 * 144)


def test_nodes_that_the_runtime_added_have_the_class_of_their_operator():
    nodes = [
        Node("a", "Transpose", Executed(10)),
        Node("b", "QGemm", Executed(10, 0, 4)),
        Node("c", "Odd", Executed(9)),
    ]
    assert [work.operator for work in works_of(nodes, summary())] == ["data_movement", "gemm", "other"]
