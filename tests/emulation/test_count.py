"""Counts that arithmetic foretells, of the real runtime under QEMU."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgekd.emulation import count as module
from edgekd.emulation.count import count
from edgekd.errors import BadInput

pytestmark = pytest.mark.slow

GraphOf = Callable[..., Path]
SIZE = 64
RNG = np.random.default_rng(0)


@pytest.fixture
def product(graph_of: GraphOf) -> Path:
    """A 64x64x64 matrix product, and a ReLU that does not fuse with it."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["t"], "product"), helper.make_node("Relu", ["t"], ["y"], "relu")]
    return graph_of(nodes, {"w": RNG.standard_normal((SIZE, SIZE), np.float32)}, [SIZE, SIZE])


def test_a_matrix_product_takes_its_multiplications_by_four(product: Path, version: str) -> None:
    found = count(product, core="cortex-a76", version=version, by_node=True)
    by_hand = SIZE**3 // 4
    assert by_hand <= found.instructions.multiply_float <= 1.01 * by_hand
    assert found.instructions.multiply_int8 == 0
    assert [node.operator for node in found.nodes] == ["MatMul", "Relu"]
    assert found.nodes[0].name == "product"
    assert by_hand <= found.nodes[0].instructions.multiply_float <= 1.01 * by_hand
    assert found.nodes[1].instructions.multiply_float == 0
    # a vector holds 4 of the 4096 numbers that ReLU reads and writes
    relu = found.nodes[1].instructions
    assert 1024 <= relu.loads <= 1024 + 2500 and 1024 <= relu.stores <= 1024 + 2500
    assert sum(node.instructions.total for node in found.nodes) == pytest.approx(found.instructions.total, abs=2)


def test_counts_repeat_and_do_not_depend_on_the_patch(product: Path, version: str, monkeypatch) -> None:
    first, second = (count(product, core="cortex-a53", version=version).instructions for _ in range(2))
    assert second.total == pytest.approx(first.total, rel=0.002)  # seen once in hundreds to move by a hundred
    assert second.multiply_float == first.multiply_float
    monkeypatch.setattr(module, "patched_library", lambda version, library: library)
    whole = count(product, core="cortex-a53", version=version).instructions
    assert whole.total == pytest.approx(first.total, abs=500)  # a longer path moves what lies behind it
    assert whole.multiply_float == first.multiply_float


def test_integer_products_take_the_kernels_of_the_core(graph_of: GraphOf, version: str) -> None:
    weights = RNG.integers(-100, 100, (SIZE, SIZE)).astype(np.int8)
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    path = graph_of([node], {"w": weights}, [SIZE, SIZE], x=TensorProto.UINT8, y=TensorProto.INT32)
    a76, a53 = (count(path, core=core, version=version).instructions for core in ("cortex-a76", "cortex-a53"))
    by_hand = SIZE**3 // 16  # four sums of four products in one instruction
    assert by_hand <= a76.dot_product <= 1.1 * by_hand and a76.multiply_int8 == a76.dot_product
    assert a53.dot_product == 0 and a53.multiply_int8 >= SIZE**3 // 8
    assert a76.total < a53.total


def test_threads_share_the_multiplications(graph_of: GraphOf, version: str) -> None:
    size = 192
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    path = graph_of([node], {"w": RNG.standard_normal((size, size), np.float32)}, [size, size])
    found = count(path, core="cortex-a76", version=version, threads=2)
    assert len(found.by_thread) == 2  # how much each does is up to this machine's scheduler
    assert sum(one.total for one in found.by_thread) == found.instructions.total
    assert size**3 // 4 <= found.instructions.multiply_float <= 1.02 * size**3 // 4


def loop_of(times: int) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """x through a matrix product so many times, where the number is a value."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["carried", "w"], ["next"], "inner"),
            helper.make_node("Identity", ["going"], ["still"]),
        ],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("going", TensorProto.BOOL, []),
            value("carried", TensorProto.FLOAT, [SIZE, SIZE]),
        ],
        [value("still", TensorProto.BOOL, []), value("next", TensorProto.FLOAT, [SIZE, SIZE])],
    )
    nodes = [helper.make_node("Loop", ["times", "yes", "x"], ["y"], "loop", body=body)]
    weights = {"times": np.array(times), "yes": np.array(True), "w": np.eye(SIZE, dtype=np.float32)}
    return nodes, weights


def test_work_that_depends_on_values_is_carried_out_and_said(graph_of: GraphOf, version: str) -> None:
    nodes, weights = loop_of(3)
    found = count(graph_of(nodes, weights, [SIZE, SIZE]), core="cortex-a76", version=version, by_node=True)
    assert "Loop" in found.note
    assert found.instructions.multiply_float >= 3 * SIZE**3 // 4
    assert "Loop" in [node.operator for node in found.nodes]
    assert sum(node.instructions.total for node in found.nodes) == pytest.approx(found.instructions.total, rel=0.01)


def test_a_model_that_the_runtime_refuses_is_named_with_its_words(graph_of: GraphOf, version: str) -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    path = graph_of(nodes, {"shape": np.array([7, 7])}, [SIZE, SIZE])
    with pytest.raises(BadInput, match=r"model\.onnx: ONNX Runtime .* for AArch64 does not run it: .*"):
        count(path, core="cortex-a76", version=version)


def test_free_sizes_are_refused(graph_of: GraphOf, version: str) -> None:
    path = graph_of([helper.make_node("Relu", ["x"], ["y"])], {}, [1, "n"])
    with pytest.raises(BadInput, match="free dimension"):
        count(path, core="cortex-a76", version=version)
