"""Q/DQ pairs written into a float graph, from ranges that are known."""

import copy
from collections.abc import Collection

import numpy as np
import onnx
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from edgekd.device import Numerics
from edgekd.schemes.calibration import RangeTable
from edgekd.schemes.spectrum import before_logarithm

NO_INTEGER_KERNEL = {
    "BatchNormalization",
    "CumSum",
    "EmbedLayerNormalization",
    "InstanceNormalization",
    "LayerNormalization",
}
"""The quantizer would wrap these in Q/DQ pairs all the same: noise for no speed."""
STATIC_OPERATORS = sorted({*QDQRegistry, *QLinearOpsRegistry} - NO_INTEGER_KERNEL - {"Softmax"})
"""Softmax too stays float: its outputs crowd near 0 and 1, where 256 even steps are too coarse."""


def with_pairs(
    graph: onnx.ModelProto,
    ranges: RangeTable,
    numerics: Numerics,
    *,
    leave_float: Collection[str] = (),
    only: Collection[str] = (),
    operators: Collection[str] = STATIC_OPERATORS,
    float_outputs: Collection[str] = (),
) -> onnx.ModelProto:
    """Return a copy of a prepared float graph with Q/DQ pairs around every operator that has an int8 form.

    Weights are symmetric int8, per channel and with 7 bits as `numerics` says. Activations are asymmetric, int8 or
    uint8: symmetric ones lost 5 dB on an 8-layer ResNet, because after ReLU half of their range goes unused.

    Args:
        leave_float: names of nodes that are not quantized.
        only: names of the nodes to quantize; empty means all.
        operators: types of the nodes to quantize.
        float_outputs: types of those that hand out floats, unless what reads them is quantized.
    """
    bounds = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.ranges.items()}
    quantizer = QDQQuantizer(
        copy.deepcopy(graph),
        numerics.per_channel,
        numerics.reduce_range,
        QuantType.QInt8,
        QuantType.QInt8 if numerics.activations == "int8" else QuantType.QUInt8,
        TensorsData(CalibrationMethod.MinMax, bounds),
        sorted(only),
        sorted({*before_logarithm(graph), *leave_float}),
        list(operators),
        {"OpTypesToExcludeOutputQuantization": list(float_outputs)},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    written: onnx.ModelProto = quantizer.model.model
    return written
