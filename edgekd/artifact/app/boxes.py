"""From a detector's outputs to objects: the confident positions, without doubles, in pixels of the image."""

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from edgekd.artifact.app.image import image_sides
from edgekd.artifact.app.nodes import Nodes
from edgekd.artifact.contract import Boxes, Contract
from edgekd.tasks.boxes import MOST_ANSWERS

POSITION, CLASS = 2, 1
"""Columns of what NonMaxSuppression says."""


def boxes_wanted() -> list[ValueInfoProto]:
    """boxes float32 (objects, 4) as x1, y1, x2, y2, scores float32 (objects,) and indices int64 (objects,) of classes,
    the most confident first."""
    return [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["objects", 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["objects"]),
        helper.make_tensor_value_info("indices", TensorProto.INT64, ["objects"]),
    ]


def write_boxes(nodes: Nodes, logits: str, boxes: str, how: Contract) -> None:
    """Write the objects in logits (1, positions, classes) and boxes (1, positions, 4) in pixels of the model's input,
    as `edgekd.tasks.boxes.detect` finds them within the limits of the contract."""
    given = how.boxes or Boxes()
    confidences = nodes.add("Sigmoid", nodes.add("Transpose", logits, perm=[0, 2, 1]))
    least = np.nextafter(np.float32(given.confidence), np.float32(0))  # the operator takes what is above
    limits = np.int64(MOST_ANSWERS), np.float32(given.nms_iou), least
    picked = nodes.add("NonMaxSuppression", _upright(nodes, boxes), confidences, *limits)
    found = nodes.add("GatherND", confidences, picked)
    count = nodes.add("Min", nodes.add("Shape", found), np.array([MOST_ANSWERS]))
    _, order = nodes.several(2, "TopK", found, count)
    rows = nodes.add("Gather", picked, order)
    positions = nodes.add("Gather", rows, np.int64(POSITION), axis=1)
    in_input = nodes.add("Gather", nodes.add("Squeeze", boxes, np.array([0])), positions)
    nodes.add("Mul", in_input, _to_image(nodes, how), into="boxes")
    nodes.add("Gather", found, order, into="scores")
    nodes.add("Gather", rows, np.int64(CLASS), axis=1, into="indices")


def _upright(nodes: Nodes, boxes: str) -> str:
    """Write boxes of which none ends before it begins: NonMaxSuppression would turn such a one around, where for edgekd
    it is empty."""
    begin, end = (nodes.add("Slice", boxes, np.array([at]), np.array([at + 2]), np.array([2])) for at in (0, 2))
    return nodes.add("Concat", begin, nodes.add("Max", begin, end), axis=2)


def _to_image(nodes: Nodes, how: Contract) -> str:
    """Write pixels of the image per pixel of the model's input, float32 (4,)."""
    height, width = image_sides(nodes)
    sides = nodes.cast(nodes.add("Concat", width, height, width, height, axis=0), np.float32)
    return nodes.add("Div", sides, np.array([*how.sides[::-1]] * 2, np.float32))
