"""Weights and activations in int8, with ranges taken from calibration data."""

from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from edgekd.device import Numerics
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.quantizer import already_integer, input_shape, quantized, write_scheme
from edgekd.schemes.scheme import SchemeResult
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


def int8_static(model: Path, out: Path, *, calibration: CalibrationData | None, numerics: Numerics) -> SchemeResult:
    """Write Q/DQ pairs whose ranges are the least and the greatest value that calibration data bring about.

    Weights are symmetric int8, per channel and with 7 bits as `numerics` says. Activations are asymmetric, int8 or
    uint8: symmetric ones lost 5 dB on an 8-layer ResNet, because after ReLU half of their range goes unused. Logits
    stay float. Skipped without calibration data, and where no operator has an int8 form.

    Raises:
        BadInput: the graph cannot be quantized.
    """
    if skipped := already_integer(model):
        return SchemeResult(scheme="int8_static", skipped=skipped)
    if calibration is None:
        return SchemeResult(scheme="int8_static", skipped="there are no calibration data")

    def quantize(prepared: Path, written: Path) -> None:
        # CalibMaxIntermediateOutputs stays unset: onnxruntime 1.31 forgets all it has seen whenever that fills up.
        # Memory is bounded without it, because ranges are reduced inside the graph: two numbers a tensor and input.
        quantize_static(
            prepared,
            written,
            _Reader(prepared, calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=STATIC_OPERATORS,
            per_channel=numerics.per_channel,
            reduce_range=numerics.reduce_range,
            activation_type=QuantType.QInt8 if numerics.activations == "int8" else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=before_logarithm(onnx.load(prepared)),
        )

    graph, notes = quantized(model, quantize)
    if not any(node.op_type == "QuantizeLinear" for node in graph.graph.node):
        return SchemeResult(scheme="int8_static", skipped="no operator of the graph has an int8 form", notes=notes)
    return write_scheme("int8_static", graph, out, notes)


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # the interface that ONNX Runtime asks for
    """Hand the quantizer one batch at a time: 1, or the batch that the graph is fixed to."""

    def __init__(self, model: Path, calibration: CalibrationData) -> None:
        graph = onnx.load(model, load_external_data=False)
        constants = {one.name for one in graph.graph.initializer}
        self.name = next(one.name for one in graph.graph.input if one.name not in constants)
        self.batches = calibration.batches(input_shape(graph, model.name)[0])

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        batch = next(self.batches, None)
        return None if batch is None else {self.name: batch}
