"""From samples of a sound to the model's input: the middle of a longer one, zeros around a shorter one."""

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from edgekd.artifact.app.nodes import Nodes
from edgekd.preprocessing import Preprocessing

NAME = "samples"


def sound_given() -> ValueInfoProto:
    """float32 (frames,): mono, of any length, at the model's sample rate."""
    return helper.make_tensor_value_info(NAME, TensorProto.FLOAT, ["frames"])


def model_input_of_sound(nodes: Nodes, how: Preprocessing) -> str:
    """Write the model's input, float32 (1, ...), as `edgekd.data.wav.fit_sound` brings a sound to its length."""
    missing = nodes.add("Sub", np.array([int(np.prod(how.shape))]), nodes.add("Shape", NAME))
    before = nodes.add("Div", missing, np.array([2]))  # towards zero, also where it is negative and so is cut off
    pads = nodes.add("Concat", before, nodes.add("Sub", missing, before), axis=0)
    return nodes.add("Reshape", nodes.add("Pad", NAME, pads), np.array([1, *how.shape]))
