"""Every operator that can be run with gradients, by its ONNX name."""

from edgekd.quantization_aware.arithmetic import ARITHMETIC
from edgekd.quantization_aware.layers import LAYERS
from edgekd.quantization_aware.node import Operator
from edgekd.quantization_aware.pooling import POOLING
from edgekd.quantization_aware.resize import RESIZE
from edgekd.quantization_aware.rounding import ROUNDING
from edgekd.quantization_aware.shaping import SHAPING

OPERATORS: dict[str, Operator] = {**ARITHMETIC, **LAYERS, **POOLING, **RESIZE, **ROUNDING, **SHAPING}
