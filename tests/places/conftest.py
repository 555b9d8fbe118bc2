"""Small ONNX graphs of known cost, written on the spot."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture
def matmul_chain(tmp_path: Path) -> Callable[..., Path]:
    """Write x (batch, rows, width) through `count` MatMuls; every weight has 4 * width**2 bytes."""

    def write(name: str, *, count: int, rows: int = 32, width: int = 256, batch: int | str = 1) -> Path:
        rng = np.random.default_rng(0)
        weights = [
            numpy_helper.from_array(rng.standard_normal((width, width), np.float32) / np.float32(width**0.5), f"w{i}")
            for i in range(count)
        ]
        nodes = [helper.make_node("MatMul", [f"t{i}", f"w{i}"], [f"t{i + 1}"]) for i in range(count)]
        graph = helper.make_graph(
            nodes,
            "chain",
            [helper.make_tensor_value_info("t0", TensorProto.FLOAT, [batch, rows, width])],
            [helper.make_tensor_value_info(f"t{count}", TensorProto.FLOAT, [batch, rows, width])],
            weights,
        )
        path = tmp_path / f"{name}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path

    return write
