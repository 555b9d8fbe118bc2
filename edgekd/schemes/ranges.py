"""Ranges of the tensors of a float graph: what activations are quantized by, found by running calibration data.

Inputs go through one batch at a time and leave two numbers or one histogram per tensor behind, so memory depends on the
graph and not on how many inputs there are: the activations of one batch, of which a histogram pass holds at most
`GROUP_MIB` at a time (the usual tools keep every activation of every input, over 100 GB for 1,000 images).
"""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper
from pydantic import ValidationError

from edgekd.errors import BadInput
from edgekd.external_data import graph_digest
from edgekd.onnx_graph import open_graph
from edgekd.schemes.calibration import CalibrationData, Method, RangeTable
from edgekd.schemes.histogram import THRESHOLDS, add_magnitudes, empty_histogram
from edgekd.workspace import write_atomic

GROUP_MIB = 256
"""Activations that a histogram pass holds at once; a larger tensor is a group of its own."""
_SAMPLES = 65_536
"""Values of one tensor and batch that are counted into its histogram: enough of 100 batches for the 99.99th percentile,
which a few more do not move."""


def find_ranges(graph: onnx.ModelProto, data: CalibrationData, method: Method) -> RangeTable:
    """Return the ranges of a prepared float graph; from the folder `data.tables` where they were found before.

    Raises:
        BadInput: a tensor takes infinite values or NaN, a stored table is not one, or the data do not fill a batch.
    """
    digest = graph_digest(graph)
    if data.given is not None and (data.given.graph, data.given.method) == (digest, method):
        return data.given
    kept = data.tables / f"ranges-{method}-{digest[:12]}.json" if data.tables else None
    if kept is not None and kept.is_file():
        table = read_ranges(kept)
        if (table.graph, table.data, table.method) == (digest, data.sha256, method):
            return table
    ranges = _extremes(graph, data)
    if method != "minmax":
        ranges = _bounded(graph, data, ranges, method)
    table = RangeTable(method=method, graph=digest, data=data.sha256, inputs=len(data), ranges=ranges)
    if kept is not None:
        write_atomic(kept, table.model_dump_json(indent=1).encode("utf-8"))
    return table


def read_ranges(path: Path) -> RangeTable:
    """Read a stored table. Raises BadInput where the file is not one."""
    try:
        return RangeTable.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise BadInput(f"{path} is not a table of calibrated ranges; delete it, and it is made again.") from error


def float_tensors(graph: onnx.ModelProto) -> dict[str, int]:
    """Float tensors that are computed or fed in, by name, with their number of elements where the batch is 1.

    Dimensions that are not known count as 1. Shapes have been inferred; constants are left out, and what is listed yet
    made no more: a batch normalisation that was folded leaves its input behind.
    """
    constants = {one.name for one in graph.graph.initializer}
    made = {one.name for one in graph.graph.input} | {name for node in graph.graph.node for name in node.output}
    made -= constants
    found = {}
    for one in (*graph.graph.input, *graph.graph.value_info, *graph.graph.output):
        kind = one.type.tensor_type
        if kind.elem_type == TensorProto.FLOAT and one.name in made:
            found[one.name] = int(np.prod([max(1, dim.dim_value) for dim in kind.shape.dim], dtype=np.int64))
    return found


def _extremes(graph: onnx.ModelProto, data: CalibrationData) -> dict[str, tuple[float, float]]:
    """The least and the greatest value of every tensor, which the graph itself reduces them to."""
    names = list(float_tensors(graph))
    reduced = onnx.ModelProto()
    reduced.CopyFrom(graph)
    del reduced.graph.output[:]
    for at, name in enumerate(names):
        for kind in ("ReduceMin", "ReduceMax"):
            made = f"edgekd_{kind}_{at}"
            reduced.graph.node.append(helper.make_node(kind, [name], [made], keepdims=0))
            reduced.graph.output.append(helper.make_tensor_value_info(made, TensorProto.FLOAT, []))
    lows, highs = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    for values in run_batches(reduced, data):
        found = np.asarray(values, np.float64).reshape(-1, 2)
        lows, highs = np.minimum(lows, found[:, 0]), np.maximum(highs, found[:, 1])
    spoiled = np.flatnonzero(~(np.isfinite(lows) & np.isfinite(highs)))
    if len(spoiled):
        raise BadInput(
            f"Tensor {names[spoiled[0]][:80]!r} takes infinite values or NaN on calibration data, so there is no int8 "
            "range for it; check the model's weights and the inputs."
        )
    return {name: (float(low), float(high)) for name, low, high in zip(names, lows, highs, strict=True)}


def _bounded(
    graph: onnx.ModelProto, data: CalibrationData, extremes: dict[str, tuple[float, float]], method: Method
) -> dict[str, tuple[float, float]]:
    """Cut every range to the magnitude that `method` finds in the tensor's histogram."""
    bounded = dict(extremes)
    for group in _groups(float_tensors(graph)):
        largest = {name: max(abs(side) for side in extremes[name]) for name in group}
        counts = {name: empty_histogram() for name in group}
        for values in run_batches(giving(graph, group), data):
            for name, value in zip(group, values, strict=True):
                add_magnitudes(counts[name], _sampled(value), largest[name])
        for name in group:
            low, high = extremes[name]
            bound = THRESHOLDS[method](counts[name], low >= 0 or high <= 0) * largest[name]
            bounded[name] = (max(low, -bound), min(high, bound))
    return bounded


def _groups(sizes: dict[str, int]) -> Iterator[list[str]]:
    """Names in groups whose tensors fit into `GROUP_MIB` together."""
    group: list[str] = []
    held = 0
    for name in sizes:
        size = 4 * sizes[name]
        if group and held + size > GROUP_MIB * 2**20:
            yield group
            group, held = [], 0
        group.append(name)
        held += size
    if group:
        yield group


def _sampled(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """At most `_SAMPLES` values, at the same places of every tensor of that size."""
    flat = values.reshape(-1)
    if flat.size <= _SAMPLES:
        return flat
    return flat[_places(flat.size)]


@cache
def _places(size: int) -> npt.NDArray[np.int64]:
    return np.sort(np.random.default_rng(0).integers(0, size, _SAMPLES))


def giving(graph: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """Return a copy of a graph whose outputs are these float tensors."""
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    del copy.graph.output[:]
    copy.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    return copy


def plain_session(graph: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Load a graph as it is, nothing fused, so that every tensor can be had."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_cpu_mem_arena = False  # it would keep the largest batch of every tensor it ever held
    options.log_severity_level = 3
    return open_graph(graph, options)


def run_batches(graph: onnx.ModelProto, data: CalibrationData) -> Iterator[list[npt.NDArray[Any]]]:
    """Yield every output of the graph for one batch after the other: of 1, or of what the graph is fixed to.

    Raises:
        BadInput: the data do not fill a batch.
    """
    batch = _filled_batch(graph, data)
    session = plain_session(graph)
    [fed] = session.get_inputs()
    for inputs in data.batches(batch):
        yield session.run(None, {fed.name: inputs})


def whole_batches(graph: onnx.ModelProto, data: CalibrationData, most: int) -> int:
    """Return how many of the first `most` inputs fill whole batches of the graph; one batch where `most` is less.

    Raises:
        BadInput: the data do not fill a batch.
    """
    batch = _filled_batch(graph, data)
    return min(len(data), max(batch, most)) // batch * batch


def _filled_batch(graph: onnx.ModelProto, data: CalibrationData) -> int:
    batch = fixed_batch(graph)
    if len(data) < batch:
        raise BadInput(
            f"There are {len(data)} calibration inputs, and the graph is fixed to batches of {batch}: give at least "
            f"{batch}, or export the model with a batch of 1 or of any size."
        )
    return batch


def fixed_batch(graph: onnx.ModelProto) -> int:
    """The batch that a graph is fixed to; 1 where it is symbolic."""
    constants = {one.name for one in graph.graph.initializer}
    dims = next(one for one in graph.graph.input if one.name not in constants).type.tensor_type.shape.dim
    return max(1, dims[0].dim_value) if dims else 1
