"""Drafts quantized without data."""

import onnx

from edgekd.device import Numerics
from edgekd.schemes.calibration import RangeTable
from edgekd.schemes.qdq import with_pairs


def quantized(model: onnx.ModelProto, numerics: Numerics) -> onnx.ModelProto:
    """Return a draft's graph with Q/DQ pairs as `int8_static` writes them, of made-up ranges. No two are alike, as in a
    network with data: where they were, the runtime would copy what it otherwise has to scale anew."""
    names = [one.name for values in (model.graph.input, model.graph.value_info, model.graph.output) for one in values]
    bounds = {name: (-3.0, 3.0 + at / 64) for at, name in enumerate(names)}
    ranges = RangeTable(method="minmax", graph="", data="", inputs=0, ranges=bounds)
    return with_pairs(model, ranges, numerics)
