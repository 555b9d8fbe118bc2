"""Where quantization noise comes from, layer by layer: what each one adds alone, and what has gathered at each."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from edgekd.device import Numerics
from edgekd.errors import BadInput
from edgekd.latency.operators import macs
from edgekd.latency.wiring import Wiring, wire
from edgekd.onnx_graph import open_graph
from edgekd.parity import power_ratio_db, worst_sqnr_db
from edgekd.quantization import NodeSignal
from edgekd.record import Record
from edgekd.schemes.calibration import CalibrationData, Inputs, RangeTable
from edgekd.schemes.qdq import with_pairs
from edgekd.schemes.ranges import fixed_batch, float_tensors, giving, run_batches, whole_batches

INPUTS = 32
REMOVED = ("Clip", "Relu")
"""Activations that the quantizer makes a part of the range of what they follow."""


class LayerNoise(Record):
    """Signal to noise of the worst output, in decibels, where of all nodes only this one is quantized.

    `weights` counts the constants that it reads; `macs` are its multiply-accumulates where the shapes are known.
    """

    node: str
    operator: str
    sqnr_db: float
    weights: int
    macs: int | None


def layer_noise(
    graph: onnx.ModelProto,
    ranges: RangeTable,
    numerics: Numerics,
    inputs: Inputs,
    *,
    known: Sequence[LayerNoise] = (),
    until: Callable[[], bool] | None = None,
) -> tuple[LayerNoise, ...]:
    """Quantize one node after the other alone, and return what that does to the outputs, the worst first.

    Nodes to which no Q/DQ pair belongs, or that have no name, are left out. Takes a run of all inputs for each node; 32
    are enough.

    Args:
        graph: a prepared float graph, and `ranges` the ranges of its tensors.
        inputs: (n, ...), n a multiple of the batch that the graph is fixed to.
        known: what was measured before, which is not measured again.
        until: asked before each layer; where it says yes, the remaining ones are left out.
    """
    exact = _outputs(graph, inputs)
    counted = _counted(graph)
    sizes = {
        one.name: int(np.prod(one.dims)) for one in graph.graph.initializer if one.data_type == onnx.TensorProto.FLOAT
    }
    found = list(known)
    there = {one.node for one in known}
    for node in graph.graph.node:
        if not node.name or node.name in there:
            continue
        if until is not None and until():
            break
        alone = with_pairs(graph, ranges, numerics, only=[node.name, *_removed_behind(node, graph)])
        if not any(one.op_type == "QuantizeLinear" for one in alone.graph.node):
            continue
        found.append(
            LayerNoise(
                node=node.name,
                operator=node.op_type,
                sqnr_db=worst_sqnr_db(exact, _outputs(alone, inputs)),
                weights=sum(sizes.get(name, 0) for name in node.input),
                macs=_macs(node, counted),
            )
        )
    return tuple(sorted(found, key=lambda one: one.sqnr_db))


def noise_inputs(graph: onnx.ModelProto, data: CalibrationData) -> Inputs:
    """Return the calibration inputs that noise is measured on: whole batches of the graph, `INPUTS` where that fits.

    Raises:
        BadInput: the data do not fill a batch.
    """
    return data.part(0, whole_batches(graph, data, INPUTS))


def accumulated_noise(graph: onnx.ModelProto, quantized: onnx.ModelProto, inputs: Inputs) -> tuple[NodeSignal, ...]:
    """Compare every node's output in a quantized graph with what it is in the float graph, in the order of the graph.

    An output that is quantized next is taken before that, and before the activation that the quantizer made a part of
    its range. Memory holds one batch.

    Args:
        graph: the prepared float graph that `quantized` was made from (the equalised one, if it was).
        inputs: (n, ...), n a multiple of the batch that the graph is fixed to.
    """
    known = float_tensors(graph)
    quantized_nodes = {node.name: node for node in quantized.graph.node if node.name}
    both = [node for node in graph.graph.node if node.name in quantized_nodes and node.output[0] in known]
    pairs = [(node.output[0], quantized_nodes[node.name].output[0]) for node in both]
    data = CalibrationData(inputs)
    signal, noise = np.zeros(len(pairs)), np.zeros(len(pairs))
    exact = run_batches(giving(graph, [one for one, _ in pairs]), data)
    actual = run_batches(giving(quantized, [one for _, one in pairs]), data)
    for left, right in zip(exact, actual, strict=True):
        signal += [float(np.sum(np.square(one, dtype=np.float64))) for one in left]
        noise += [_difference(one, other) for one, other in zip(left, right, strict=True)]
    return tuple(
        NodeSignal(node=node.name, operator=node.op_type, sqnr_db=power_ratio_db(one, other))
        for node, one, other in zip(both, signal, noise, strict=True)
    )


def _outputs(graph: onnx.ModelProto, inputs: Inputs) -> list[npt.NDArray[np.float32]]:
    """Every output (n, ...), from the kernels that the runtime picks on this machine."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = open_graph(graph, options)
    [fed] = session.get_inputs()
    step = fixed_batch(graph)
    runs = [session.run(None, {fed.name: inputs[at : at + step]}) for at in range(0, len(inputs), step)]
    return [np.concatenate(output) for output in zip(*runs, strict=True)]


def _removed_behind(node: onnx.NodeProto, graph: onnx.ModelProto) -> list[str]:
    """Name of the activation that is quantized with a node: its only reader."""
    readers = [one for one in graph.graph.node if node.output[0] in one.input]
    return [one.name for one in readers if len(readers) == 1 and one.op_type in REMOVED]


def _counted(graph: onnx.ModelProto) -> Wiring | None:
    try:
        return wire(graph)
    except BadInput:  # shapes that are known only when the model runs
        return None


def _macs(node: onnx.NodeProto, counted: Wiring | None) -> int | None:
    try:
        return macs(node, counted) if counted else None
    except BadInput:
        return None


def _difference(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    """Power of the difference of two arrays of one shape."""
    return float(np.sum(np.square(one.astype(np.float64) - other)))
