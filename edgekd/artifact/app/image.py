"""From an image to the model's input: resized and cropped as `edgekd.data.image` does it, then normalised."""

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from edgekd.artifact.app.nodes import Nodes, Value
from edgekd.artifact.app.resize import ACROSS, DOWN, Side, resize_with_operator
from edgekd.artifact.app.resize_by_products import resize_with_products
from edgekd.preprocessing import Preprocessing, gain_and_shift

NAME = "image"
RESIZE_SMOOTHS = 18
"""The opset from which the operator Resize can smooth what it makes smaller, as Pillow does."""
EXTREME = 16
"""An image so many times as high as wide that is cropped is resized along its height first, and most of that cut off:
across first, as Pillow does it, a strip of 5000 x 1 pixels would become a gigabyte on the way."""


def image_given(how: Preprocessing) -> ValueInfoProto:
    """uint8 (height, width, channels), of any size."""
    return helper.make_tensor_value_info(NAME, TensorProto.UINT8, ["height", "width", how.channels])


def model_input_of_image(nodes: Nodes, how: Preprocessing, opset: int) -> str:
    """Write the model's input, float32 (1, channels, height, width)."""
    pixels = nodes.add("Reshape", _fitted(nodes, how, opset), np.array([how.height, how.width, how.channels]))
    planes = nodes.add("Transpose", pixels, perm=[2, 0, 1])
    if how.order == "bgr":
        planes = nodes.add("Gather", planes, np.arange(how.channels or 0)[::-1].copy(), axis=0)
    gain, shift = (one.reshape(-1, 1, 1) for one in gain_and_shift(how))
    scaled = nodes.add("Add", nodes.add("Mul", nodes.cast(planes, np.float32), gain), shift)
    return nodes.add("Reshape", scaled, np.array([1, *how.shape]))


def image_sides(nodes: Nodes) -> tuple[str, str]:
    """Write height and width of the image, int64 (1,) each."""
    shape = nodes.add("Shape", NAME)
    return nodes.add("Gather", shape, np.array([DOWN])), nodes.add("Gather", shape, np.array([ACROSS]))


def _fitted(nodes: Nodes, how: Preprocessing, opset: int) -> str:
    """Write the pixels at the model's size: one direction after the other, each rounded to whole levels."""
    height, width = image_sides(nodes)
    down, across = _sides(nodes, how, height, width)
    resize = resize_with_operator if opset >= RESIZE_SMOOTHS else resize_with_products
    kind = how.resize

    # Pillow begins with the direction that leaves less to do in the other.
    lost, beside = nodes.add("Sub", height, down.becomes), nodes.add("Sub", width, across.becomes)
    more = nodes.add("Greater", lost, nodes.add("Max", nodes.add("Mul", beside, np.array([2])), np.array([0])))
    if how.crop is not None:
        more = nodes.add("Or", more, nodes.add("Greater", height, nodes.add("Mul", width, np.array([EXTREME]))))
    return nodes.choice(
        more,
        lambda branch: resize(branch, resize(branch, NAME, down, kind), across, kind),
        lambda branch: resize(branch, resize(branch, NAME, across, kind), down, kind),
        TensorProto.UINT8,
    )


def _sides(nodes: Nodes, how: Preprocessing, height: str, width: str) -> tuple[Side, Side]:
    """What happens to height and width, as in `edgekd.data.image.covering` and the crop after it."""
    rows, columns = np.array([how.height]), np.array([how.width])
    if how.crop is None:
        return Side(DOWN, height, rows, None), Side(ACROSS, width, columns, None)
    box_rows, box_columns = (np.round(side / how.crop).astype(np.int64) for side in (rows, columns))
    fits = nodes.add("And", nodes.add("Equal", height, rows), nodes.add("Equal", width, columns))

    def covered(have: str, other: str, box: Value, other_box: Value) -> str:
        in_proportion = nodes.add("Div", nodes.add("Mul", have, other_box), nodes.add("Max", other, np.array([1])))
        return nodes.add("Where", fits, have, nodes.add("Max", box, in_proportion))

    down = covered(height, width, box_rows, box_columns)
    across = covered(width, height, box_columns, box_rows)
    return Side(DOWN, height, down, rows), Side(ACROSS, width, across, columns)
