"""From a classifier's output to the likeliest classes."""

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from edgekd.artifact.app.nodes import Nodes
from edgekd.artifact.parity.answers import BEST


def classes_wanted(classes: int) -> list[ValueInfoProto]:
    """indices int64 (k,) and probabilities float32 (k,), the likeliest first."""
    best = min(BEST, classes)
    return [
        helper.make_tensor_value_info("indices", TensorProto.INT64, [best]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [best]),
    ]


def write_classes(nodes: Nodes, output: str, classes: int, *, shares: bool) -> None:
    """Write indices and probabilities of an output (1, classes), which are logits or `shares` already; of equal ones
    the lower index comes first."""
    flat = nodes.add("Reshape", output, np.array([classes]))
    # The order is that of the logits: softmax can make the same number of two of them.
    _, order = nodes.several(2, "TopK", flat, np.array([min(BEST, classes)]))
    nodes.add("Identity", order, into="indices")
    nodes.add("Gather", flat if shares else nodes.add("Softmax", flat, axis=0), order, into="probabilities")
