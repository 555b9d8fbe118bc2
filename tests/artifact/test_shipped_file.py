"""Whether a classifier's file gives logits or probabilities."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from edgekd.artifact.shipped_file import gives_shares


@pytest.mark.parametrize(
    ("operators", "shares"),
    [
        (["Relu"], False),
        (["Softmax"], True),
        (["Softmax", "Identity", "Flatten"], True),
        (["Softmax", "Relu"], False),
        (["Softmax", "Relu", "Identity"], False),
    ],
)
def test_shares_are_told_by_the_last_operator(tmp_path: Path, operators: list[str], shares: bool) -> None:
    nodes = [helper.make_node(kind, [f"t{at}"], [f"t{at + 1}"]) for at, kind in enumerate(operators)]
    values = [helper.make_tensor_value_info(f"t{at}", TensorProto.FLOAT, (1, 3)) for at in (0, len(operators))]
    graph = helper.make_graph(nodes, "chain", values[:1], values[1:])
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    assert gives_shares(tmp_path / "model.onnx") == shares
