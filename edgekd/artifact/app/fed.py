"""What the model inside app.onnx is fed, to hold it against the pipeline's own."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnx import TensorProto, helper

from edgekd.artifact.app.graph import app_graph
from edgekd.artifact.app.image import NAME, RESIZE_SMOOTHS
from edgekd.artifact.contract import Contract, Tensor
from edgekd.onnx_graph import open_graph

IR_VERSION = 8


def images_as_fed(images: Sequence[npt.NDArray[np.uint8]], contract: Contract) -> npt.NDArray[np.float32]:
    """Return the model inputs (n, channels, height, width) that an app graph makes of images (height, width, channels)
    of any size each: those of the pipeline but for a level of 255 here and there, as the operator Resize rounds."""
    shape = (1, *contract.shape)
    given, said = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("input", "output"))
    graph = helper.make_graph([helper.make_node("Identity", ["input"], ["output"])], "nothing", [given], [said])
    nothing = helper.make_model(graph, opset_imports=[helper.make_opsetid("", RESIZE_SMOOTHS)], ir_version=IR_VERSION)
    output = Tensor(name="output", dtype="float32", shape=shape, meaning="the input")
    alone = contract.model_copy(update={"answer": "outputs", "outputs": (output,)})
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = open_graph(app_graph(nothing, alone, max_opset=RESIZE_SMOOTHS), options)
    return np.stack([session.run(None, {NAME: image})[0] for image in images])
