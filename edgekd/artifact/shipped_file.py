"""Running model.onnx of an artifact as it ships: in its runtime and precision."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgekd.formats.onnx_file import onnx_outputs
from edgekd.preprocessing import Preprocessing
from edgekd.results import Candidate
from edgekd.runtimes import predict_all
from edgekd.schemes.offered import PRECISION, on_this_machine


def precision_of(chosen: Candidate) -> dict[str, str]:
    """Of the session options that which changes what is computed; the others change time and memory alone."""
    return {key: str(value) for key, value in chosen.session.items() if key == PRECISION}


def shipped_outputs(model: Path, chosen: Candidate, inputs: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], ...]:
    """Every output of model inputs (n, ...), each (n, ...)."""
    return predict_all(model, [inputs], runtime=chosen.runtime, options=on_this_machine(precision_of(chosen)))


def output_shapes(model: Path, chosen: Candidate, how: Preprocessing) -> dict[str, tuple[int, ...]]:
    """Name of each output to its shape for one sample, found by running the model: a graph may not say it."""
    names = [output.name for output in onnx_outputs(onnx.load(model, load_external_data=False))]
    said = shipped_outputs(model, chosen, how.zeros(1))
    return {name: output.shape[1:] for name, output in zip(names, said, strict=True)}


def gives_shares(model: Path) -> bool:
    """Whether the first output is that of a softmax, and so no logits."""
    graph = onnx.load(model, load_external_data=False).graph
    writers = {name: node for node in graph.node for name in node.output}
    node = writers.get(graph.output[0].name)
    while node is not None and node.op_type in PASSES_ON:
        node = writers.get(node.input[0])
    return node is not None and node.op_type == "Softmax"


PASSES_ON = frozenset({"Identity", "Cast", "Reshape", "Flatten", "Squeeze", "QuantizeLinear", "DequantizeLinear"})
"""Operators that leave values as they are, but for their rounding."""
