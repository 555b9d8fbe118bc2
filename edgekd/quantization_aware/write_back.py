"""What was trained, put into a copy of the int8 file: same nodes, same names, other numbers."""

from collections.abc import Mapping

import numpy as np
import onnx
import torch
from onnx import numpy_helper


def with_constants(model: onnx.ModelProto, constants: Mapping[str, torch.Tensor]) -> onnx.ModelProto:
    """Return a copy of `model` whose constants of these names hold these values, in the type that the file has.

    Codes are whole numbers within the range of their type already; only int32 ones, kept as float32, may round up to
    one beyond it.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for one in copy.graph.initializer:
        if one.name in constants:
            held = numpy_helper.to_array(one)
            values = constants[one.name].detach().cpu().double().numpy().reshape(held.shape)
            if held.dtype.kind in "iu":
                values = np.clip(values, np.iinfo(held.dtype).min, np.iinfo(held.dtype).max)
            one.CopyFrom(numpy_helper.from_array(values.astype(held.dtype), one.name))
    return copy
