"""Graphs whose work can be counted by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture(scope="session")
def version(emulation: str) -> str:
    """The version of ONNX Runtime that is emulated."""
    return emulation


@pytest.fixture
def graph_of(tmp_path: Path) -> Callable[..., Path]:
    """Write a model of these nodes, `x` to `y`, float32 unless said otherwise, `y` of any size in two dimensions."""

    def write(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], shape: list[int], **kinds: int) -> Path:
        graph = helper.make_graph(
            nodes,
            "graph",
            [helper.make_tensor_value_info("x", kinds.get("x", TensorProto.FLOAT), shape)],
            [helper.make_tensor_value_info("y", kinds.get("y", TensorProto.FLOAT), ["a", "b"])],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        )
        path = tmp_path / "model.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path

    return write
