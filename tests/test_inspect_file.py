"""What `inspect` says of an ONNX file agrees with what the rest of edgekd reads from it."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from edgekd.formats.onnx_file import OnnxValue
from edgekd.inspect_file import inspect_file


def test_inputs_outputs_and_figures(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "kernel"], ["map"]), helper.make_node("Relu", ["map"], ["out"])],
        "g",
        [
            helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8]),
            helper.make_tensor_value_info("kernel", TensorProto.FLOAT, [4, 3, 3, 3]),
        ],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 4, None, 6])],
        [numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save(model, tmp_path / "m.onnx")
    found = inspect_file(tmp_path / "m.onnx").onnx
    assert found is not None
    assert found.inputs == (OnnxValue(name="image", dtype="float32", shape=("n", 3, 8, 8)),)
    assert found.outputs == (OnnxValue(name="out", dtype="float32", shape=("n", 4, None, 6)),)
    assert (found.params, found.macs) == (4 * 27, 4 * 27 * 6 * 6)
    assert found.operators == {"Conv": 1, "Relu": 1}
    assert "raspberry-pi-5" in found.loads_on
