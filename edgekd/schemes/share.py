"""How much of a model a scheme really quantized: parameters as stored, multiply-accumulates as they are done."""

from math import prod
from pathlib import Path

import onnx
from onnx import numpy_helper

from edgekd.latency.graph import parameters, summarise
from edgekd.latency.optimised import optimise
from edgekd.latency.wiring import wire
from edgekd.quantization import Share

_WEIGHT_BYTES = 1024
"""Tensors from this size on are looked at for copies of each other."""


def quantized_share(model: Path, *, arm: bool) -> Share:
    """Look at an ONNX file as a scheme wrote it; `arm` as in `edgekd.latency.optimised.optimise`.

    Raises:
        BadInput: ONNX Runtime does not load the file, or its work cannot be counted.
    """
    graph = onnx.load(model)
    wiring = wire(graph)
    counts = parameters(wiring)
    small = sum(count for name, count in counts.items() if wiring.itemsize[name] == 1)
    nodes = summarise(optimise(model, arm=arm), optimised=True).nodes
    macs = sum(node.macs for node in nodes)
    return Share(
        parameters=_share(small, sum(counts.values())),
        macs=_share(sum(node.macs for node in nodes if node.precision == "int8"), macs),
        repeated_kib=round(_repeated_bytes(graph) / 1024, 1),
    )


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _repeated_bytes(model: onnx.ModelProto) -> int:
    seen: set[tuple[int, tuple[int, ...], bytes]] = set()
    repeated = 0
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.nbytes < _WEIGHT_BYTES or prod(values.shape) == max(values.shape):
            continue
        forms = {(tensor.data_type, one.shape, one.tobytes()) for one in (values, values.T)}
        repeated += values.nbytes if forms & seen else 0
        seen |= forms
    return repeated
