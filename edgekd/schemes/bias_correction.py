"""Bias correction: what quantization shifts on average is given back through the biases.

Nagel et al. 2019, Data-Free Quantization (arXiv 1906.04721), section 4.2, with the shift measured on calibration data:
rounding weights and cutting activations moves the mean of every output channel, and the layers behind see other inputs
than they were trained on. Layers are corrected in the order of the graph, each behind corrected ones, in one pass:
the graph runs from layer to layer, and only what later layers read is held.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.links import read_by
from edgekd.schemes.ranges import fixed_batch, float_tensors, giving, plain_session, run_batches

Array = npt.NDArray[Any]

HELD_MIB = 512
"""Tensors that are held between two layers; where they are large, fewer inputs take part."""
_HELD_BYTES = 8
"""Per element of the largest tensor: itself as float32, and up to four others of its size in 8 bits."""


@dataclass(frozen=True)
class _Layer:
    """A layer with a bias of its own, and what one step of that bias is worth: () or (channels,), 1 where it is float.

    `reference` is what the float graph calls its output; `axis` is where that has its channels.
    """

    node: onnx.NodeProto
    bias: TensorProto
    step: npt.NDArray[np.float32]
    reference: str
    axis: int


@dataclass(frozen=True)
class _Part:
    """The nodes between layers that have run and the next one, and the tensors that later parts read."""

    nodes: list[onnx.NodeProto]
    kept: frozenset[str]


def corrected(
    float_graph: onnx.ModelProto, quantized: onnx.ModelProto, data: CalibrationData, count: int = 64
) -> onnx.ModelProto:
    """Return a copy of a quantized graph whose Conv and Gemm outputs have the float graph's means, channel by channel.

    Outputs are compared before the activation. Biases change by whole steps of their own scale; layers without one, or
    with one that they share, stay as they are.

    Args:
        float_graph: the prepared graph that `quantized` was made from; layers have the same names in both.
        count: how many of the inputs to use; fewer where tensors are so large that `HELD_MIB` would not hold them.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(quantized)
    layers = _layers(float_graph, copy)
    if not layers:
        return copy
    batch = fixed_batch(float_graph)
    fitting = HELD_MIB * 2**20 // (_HELD_BYTES * max(float_tensors(float_graph).values()))
    inputs = CalibrationData(data.part(0, max(batch, min(count, fitting))))
    wanted = _float_means(float_graph, layers, inputs)
    held = [{copy.graph.input[0].name: one} for one in inputs.batches(batch)]
    for layer, part, mean in zip(layers, _parts(copy, layers), wanted, strict=True):
        output = layer.node.output[0]
        session = plain_session(_graph(part, copy, output, held[0]))
        reads, makes = [[one.name for one in ends] for ends in (session.get_inputs(), session.get_outputs())]
        made = []
        for at, values in enumerate(held):
            results = dict(zip(makes, session.run(None, {name: values[name] for name in reads}), strict=True))
            made.append(results[output])
            held[at] = {name: value for name, value in {**values, **results}.items() if name in part.kept}
        given_back = _correct(layer.bias, layer.step, mean - _channel_mean(made, layer.axis))
        for outputs in made:  # held too, where later layers read them
            outputs += given_back.reshape(-1, *[1] * (outputs.ndim - 2)) if layer.axis == 1 else given_back
    return copy


def _layers(float_graph: onnx.ModelProto, quantized: onnx.ModelProto) -> list[_Layer]:
    """Layers of the quantized graph, in its order, whose bias is a constant that nothing else reads."""
    constants = {one.name: one for one in quantized.graph.initializer}
    made_by = {name: node for node in quantized.graph.node for name in node.output}
    readers: dict[str, int] = {}
    for node in quantized.graph.node:
        for name in read_by(node):
            readers[name] = readers.get(name, 0) + 1
    references = {node.name: node.output[0] for node in float_graph.graph.node if node.op_type in ("Conv", "Gemm")}
    found = []
    for node in quantized.graph.node:
        if node.name not in references or node.op_type not in ("Conv", "Gemm") or len(node.input) < 3:
            continue
        name, step = node.input[2], np.ones((), np.float32)
        before = made_by.get(name)
        if before is not None and before.op_type == "DequantizeLinear" and readers[name] == 1:
            name, step = before.input[0], numpy_helper.to_array(constants[before.input[1]])
        bias = constants.get(name)
        if bias is None or readers[name] > 1 or len(bias.dims) != 1 or _scaled(node):
            continue
        found.append(_Layer(node, bias, step, references[node.name], 1 if node.op_type == "Conv" else -1))
    return found


def _scaled(node: onnx.NodeProto) -> bool:
    """Whether a matrix product multiplies its bias."""
    return any(one.name == "beta" and one.f != 1 for one in node.attribute)


def _float_means(graph: onnx.ModelProto, layers: list[_Layer], inputs: CalibrationData) -> list[Array]:
    """What each layer's channels (channels,) are on average in the float graph."""
    sums: list[Any] = [0.0] * len(layers)
    batches = 0
    for values in run_batches(giving(graph, [layer.reference for layer in layers]), inputs):
        means = [_channel_mean([value], layer.axis) for layer, value in zip(layers, values, strict=True)]
        sums = [one + mean for one, mean in zip(sums, means, strict=True)]
        batches += 1
    return [one / batches for one in sums]


def _channel_mean(batches: Iterable[Array], axis: int) -> Array:
    """Mean (channels,) over batches of one size, and over all axes but that of the channels."""
    means = [np.moveaxis(one, axis, 0).reshape(one.shape[axis], -1).mean(axis=1, dtype=np.float64) for one in batches]
    return np.asarray(np.mean(means, axis=0))


def _correct(bias: TensorProto, step: npt.NDArray[np.float32], shift: Array) -> npt.NDArray[np.float32]:
    """Add `shift` (channels,) to a bias, and return what was added after rounding to its steps."""
    before = numpy_helper.to_array(bias)
    added = shift / step
    if before.dtype == np.int32:
        limits = np.iinfo(np.int32)
        added = np.clip(np.rint(added) + before, limits.min, limits.max) - before
    bias.CopyFrom(numpy_helper.from_array((before + added).astype(before.dtype), bias.name))
    return np.asarray(added * step, np.float32)


def _parts(model: onnx.ModelProto, layers: list[_Layer]) -> list[_Part]:
    """Cut a graph behind each layer; what no layer needs is left out.

    A DequantizeLinear belongs to every part that reads it, so that tensors are held in 8 bits.
    """
    made_by = {name: at for at, node in enumerate(model.graph.node) for name in node.output if name}
    done: set[int] = set()
    pieces: list[list[onnx.NodeProto]] = []
    for layer in layers:
        found: set[int] = set()
        waiting = [layer.node.output[0]]
        while waiting:
            at = made_by.get(waiting.pop())
            if at is not None and at not in done and at not in found:
                found.add(at)
                waiting += read_by(model.graph.node[at])
        pieces.append([model.graph.node[at] for at in sorted(found)])
        done |= {at for at in found if model.graph.node[at].op_type != "DequantizeLinear"}
    last_read = {name: at for at, piece in enumerate(pieces) for name in _reads(piece)}
    return [
        _Part(piece, frozenset(name for name, last in last_read.items() if last > at))
        for at, piece in enumerate(pieces)
    ]


def _reads(nodes: list[onnx.NodeProto]) -> set[str]:
    """What nodes read and do not make themselves, constants among it."""
    return {name for node in nodes for name in read_by(node)} - {name for node in nodes for name in node.output}


def _graph(part: _Part, model: onnx.ModelProto, output: str, held: dict[str, Array]) -> onnx.ModelProto:
    """A part as a graph from what is held to its layer's output, and to what else is kept."""
    made = {name for node in part.nodes for name in node.output if name}
    read = _reads(part.nodes)
    graph = helper.make_graph(
        part.nodes,
        "part",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), None)
            for name, value in held.items()
            if name in read
        ],
        [onnx.ValueInfoProto(name=name) for name in sorted(made & part.kept | {output})],
        [one for one in model.graph.initializer if one.name in read],
    )
    return helper.make_model(
        graph, ir_version=model.ir_version, opset_imports=model.opset_import, functions=model.functions
    )
