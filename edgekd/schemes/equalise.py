"""Cross-layer equalisation: the same function with channels of like magnitude, so that one step suits them all.

Nagel et al. 2019, Data-Free Quantization (arXiv 1906.04721), section 4.1: with r1 the magnitudes of the channels at
their maker and r2 those of the weights that read them, dividing channel c by s_c = sqrt(r1_c / r2_c) and multiplying
its weights by s_c makes both sqrt(r1_c r2_c). Where every output channel has its own weight scale, the maker's weights
need no help; r1 is then what the activations reach (Xiao et al. 2022, SmoothQuant, arXiv 2211.10438, at alpha 1/2).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from edgekd.device import Numerics
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.links import Link, Reader, find_links, part_vectors
from edgekd.schemes.ranges import giving, run_batches

Array = npt.NDArray[np.float64]

ROUNDS = 50
"""Links that share a weight settle in a few rounds; a chain of n layers takes about n."""
SETTLED = 0.01
FLOOR = 1e-3
"""Channels weaker than this part of the strongest count as that strong: what calibration data hardly show may be
stronger elsewhere."""


@dataclass(frozen=True)
class Equalised:
    """A float graph that computes what it computed before, and the tensors whose channels were scaled."""

    graph: onnx.ModelProto
    tensors: tuple[str, ...]


def equalised(graph: onnx.ModelProto, data: CalibrationData, numerics: Numerics) -> Equalised:
    """Return a copy of a prepared float graph with like magnitudes in the channels of every tensor that allows it.

    Channels that calibration data never make active keep their scale.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    part_vectors(copy)
    links = find_links(copy)
    if not links:
        return Equalised(graph, ())
    values = {one.name: numpy_helper.to_array(one).astype(np.float64) for one in copy.graph.initializer if _float(one)}
    reached = _channel_maxima(copy, links, data)
    for _ in range(ROUNDS):
        largest = 1.0
        for at, link in enumerate(links):
            scale = _scale(link, values, reached[at], numerics)
            _divide(link, values, scale)
            reached[at] = reached[at] / scale
            largest = max(largest, float(scale.max()), float(1 / scale.min()))
        if largest < 1 + SETTLED:
            break
    changed = {one.name for link in links for one in link.made_by} | {
        one.name for link in links for one in link.readers
    }
    for one in copy.graph.initializer:
        if one.name in changed:
            one.CopyFrom(numpy_helper.from_array(values[one.name].astype(np.float32), one.name))
    return Equalised(copy, tuple(link.tensor for link in links))


def _float(constant: onnx.TensorProto) -> bool:
    return bool(constant.data_type == onnx.TensorProto.FLOAT)


def _channel_maxima(graph: onnx.ModelProto, links: tuple[Link, ...], data: CalibrationData) -> list[Array]:
    """The greatest magnitude (channels,) that each link's readers are given, over all calibration data."""
    names = sorted({name for link in links for name, _ in link.read_at})
    maxima = [np.zeros(link.channels) for link in links]
    for outputs in run_batches(giving(graph, names), data):
        values = dict(zip(names, outputs, strict=True))
        for at, link in enumerate(links):
            for name, axis in link.read_at:
                found = np.abs(np.moveaxis(values[name], axis, 0)).reshape(link.channels, -1).max(axis=1)
                maxima[at] = np.maximum(maxima[at], found)
    return maxima


def _scale(link: Link, values: dict[str, Array], reached: Array, numerics: Numerics) -> Array:
    """What to divide the channels by (channels,), with a geometric mean of 1; ones where nothing is active."""
    first = link.made_by[0]
    made = reached
    if first.matrix and not numerics.per_channel:
        made = np.abs(np.moveaxis(values[first.name], first.axis, 0)).reshape(link.channels, -1).max(axis=1)
    read = np.max([_read(reader, link, values, numerics) for reader in link.readers], axis=0)
    if made.max() == 0 or read.max() == 0:
        return np.ones(link.channels)
    scale: Array = np.sqrt(_above_floor(made) / _above_floor(read))
    scale /= np.exp(np.log(scale).mean())
    return np.where(made > 0, scale, 1.0)


def _above_floor(magnitudes: Array) -> Array:
    return np.asarray(np.maximum(magnitudes, FLOOR * magnitudes.max()))


def _read(reader: Reader, link: Link, values: dict[str, Array], numerics: Numerics) -> Array:
    """The greatest weight (channels,) that reads each channel, with per-channel scales as a part of its output's."""
    weight = np.abs(_rows(reader, values[reader.name]))
    if numerics.per_channel:
        weight = weight / np.maximum(weight.max(axis=(2, 3), keepdims=True), np.finfo(np.float64).tiny)
    found: Array = weight.max(axis=(1, 3)).reshape(link.channels, -1).max(axis=1)
    return found


def _rows(reader: Reader, weight: Array) -> Array:
    """A view (groups, outputs / groups, inputs / groups, the rest) of a reader's weight."""
    if reader.flipped:
        weight = weight.T
    return weight.reshape(reader.groups, weight.shape[0] // reader.groups, weight.shape[1], -1)


def _divide(link: Link, values: dict[str, Array], scale: Array) -> None:
    """Divide the channels at their maker, and multiply the weights that read them."""
    for factor in link.made_by:
        shape = [1] * values[factor.name].ndim
        shape[factor.axis] = -1
        values[factor.name] /= scale.reshape(shape)
    for reader in link.readers:
        rows = _rows(reader, values[reader.name])
        rows *= np.repeat(scale, rows.shape[0] * rows.shape[2] // link.channels).reshape(rows.shape[0], 1, -1, 1)
