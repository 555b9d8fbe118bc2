"""How much noise each layer's quantization makes."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgekd.device import Numerics
from edgekd.onnx_graph import run_graph
from edgekd.parity import sqnr_db
from edgekd.record import Record
from edgekd.schemes.qdq import STATIC_OPERATORS, with_pairs
from edgekd.schemes.ranges import RangeTable


class LayerNoise(Record):
    """One node, and the signal to noise of the worst output, in decibels, where it alone is quantized."""

    node: str
    operator: str
    sqnr_db: float


def layer_noise(
    graph: onnx.ModelProto, ranges: RangeTable, numerics: Numerics, inputs: npt.NDArray[Any]
) -> tuple[LayerNoise, ...]:
    exact = run_graph(graph, inputs)
    found = []
    for node in graph.graph.node:
        if node.op_type not in STATIC_OPERATORS:
            continue
        alone = with_pairs(graph, ranges, numerics, only=[node.name])
        if not any(one.op_type == "QuantizeLinear" for one in alone.graph.node):
            continue
        said = run_graph(alone, inputs)
        worst = min(sqnr_db(np.asarray(a), np.asarray(b)) for a, b in zip(exact, said, strict=True))
        found.append(LayerNoise(node=node.name, operator=node.op_type, sqnr_db=worst))
    return tuple(sorted(found, key=lambda one: (one.sqnr_db, one.node)))
