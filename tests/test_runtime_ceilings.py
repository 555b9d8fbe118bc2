"""The models of one node that are tried, and what they find of the installed runtime."""

import onnx
import onnxruntime
import pytest

from edgekd import runtime_ceilings
from edgekd.runtime_ceilings import ceilings, model_bytes


def test_the_model_is_what_onnx_writes() -> None:
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", value[:1], value[1:])
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    assert onnx.load_from_string(model_bytes(17, 8)) == made


def test_one_more_is_refused() -> None:
    found = ceilings()
    for opset, ir in ((found["max_opset"] + 1, 3), (7, found["max_ir"] + 1)):
        with pytest.raises(Exception, match=r"[Uu]nsupported|opset"):
            onnxruntime.InferenceSession(model_bytes(opset, ir), providers=["CPUExecutionProvider"])
    onnxruntime.InferenceSession(model_bytes(found["max_opset"], found["max_ir"]), providers=["CPUExecutionProvider"])


def test_a_runtime_that_loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_ceilings, "OPSETS", range(100, 102))
    monkeypatch.setattr(runtime_ceilings, "IR_VERSIONS", range(100, 102))
    assert ceilings() == {"max_opset": 0, "max_ir": 0}
