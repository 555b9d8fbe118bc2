"""Drafts quantized without data."""

import onnx

from edgekd.device import Numerics
from edgekd.schemes.calibration import RangeTable
from edgekd.schemes.qdq import with_pairs


def quantized(model: onnx.ModelProto, numerics: Numerics) -> onnx.ModelProto:
    """Return a draft's graph with Q/DQ pairs as `int8_static` writes them; of made-up ranges, which cost nothing."""
    names = [one.name for values in (model.graph.input, model.graph.value_info, model.graph.output) for one in values]
    ranges = RangeTable(method="minmax", graph="", data="", inputs=0, ranges=dict.fromkeys(names, (-3.0, 3.0)))
    return with_pairs(model, ranges, numerics)
