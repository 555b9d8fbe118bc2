import runpy
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from edgekd.latency.graph import summarise

small = runpy.run_path(str(Path(__file__).parent / "small_graphs.py"))
model = small["model"]


def extent(node, inputs, weights=None):
    found = summarise(model([node], inputs=inputs, outputs=list(node.output), weights=weights or {}))
    return found.nodes[-1].extent


def test_a_convolution_is_told_by_its_loops():
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=2, strides=[2, 2], pads=[1] * 4)
    found = extent(node, {"x": [1, 8, 9, 9]}, {"w": np.zeros((6, 4, 3, 3), np.float32)})
    wanted = {"groups": 2, "inside": 4, "outside": 3, "height": 5, "width": 5, "stride": 2, "padded": 1, "bias": 0}
    assert wanted.items() <= found.items()


def test_what_is_folded_into_a_convolution_is_told_with_it():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Add", ["c", "r"], ["s"]),
        helper.make_node("Relu", ["s"], ["y"]),
    ]
    weights = {"w": np.zeros((6, 8, 1, 1), np.float32)}
    graph = model(nodes, inputs={"x": [1, 8, 9, 9], "r": [1, 6, 9, 9]}, outputs=["y"], weights=weights)
    (node,) = summarise(graph).nodes
    assert {"sum": 1, "activation": 1, "kernel_width": 1}.items() <= node.extent.items()


def test_a_product_by_stored_weights_has_no_batch_and_one_of_activations_has():
    stored = extent(
        helper.make_node("MatMul", ["x", "w"], ["y"]), {"x": [2, 3, 5]}, {"w": np.zeros((5, 7), np.float32)}
    )
    assert {"batch": 1, "rows": 6, "inner": 5, "columns": 7, "stored": 1}.items() <= stored.items()
    both = extent(helper.make_node("MatMul", ["x", "z"], ["y"]), {"x": [2, 3, 5], "z": [2, 5, 7]})
    assert {"batch": 2, "rows": 3, "inner": 5, "columns": 7, "stored": 0}.items() <= both.items()


@pytest.mark.parametrize(
    ("other", "pieces", "run", "kind"),
    [
        ([1, 8, 4, 4], 1, 128, 0),
        ([1], 1, 128, 1),
        ([8, 1, 1], 8, 16, 2),
        ([4], 32, 4, 3),
        ([1, 8, 4, 1], 32, 4, 2),
    ],
)
def test_how_a_second_factor_is_repeated(other, pieces, run, kind):
    found = extent(helper.make_node("Mul", ["x", "z"], ["y"]), {"x": [1, 8, 4, 4], "z": other})
    assert found == {"pieces": pieces, "run": run, "kind": kind}


@pytest.mark.parametrize(
    ("order", "pieces", "run", "kind"),
    [
        ([0, 1, 2, 3], 1, 96, 0),
        ([0, 2, 1, 3], 24, 4, 1),
        ([0, 2, 3, 1], 12, 8, 2),
        ([0, 3, 1, 2], 4, 24, 3),
        ([0, 3, 2, 1], 12, 8, 4),
        ([1, 3, 2, 0], 96, 1, 4),
    ],
)
def test_how_a_transpose_moves_its_axes(order, pieces, run, kind):
    found = extent(helper.make_node("Transpose", ["x"], ["y"], perm=order), {"x": [1, 8, 3, 4]})
    assert found == {"pieces": pieces, "run": run, "kind": kind}


def test_a_pool_and_a_reduction_are_told_by_their_rows():
    pool = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2])
    assert extent(pool, {"x": [1, 8, 9, 9]}) == {
        **{"pieces": 32, "run": 9, "across": 9, "side": 3, "stride": 2, "kind": 0},
    }
    mean = helper.make_node("GlobalAveragePool", ["x"], ["y"])
    assert extent(mean, {"x": [1, 8, 9, 9]}) == {"pieces": 8, "run": 81, "kind": 0}


def test_a_shape_known_only_when_the_model_runs_is_not_made_up():
    node = helper.make_node("NonZero", ["x"], ["y"])
    assert extent(node, {"x": [2, 3]}) == {}


def test_a_table_of_places_is_not_taken_for_a_factor():
    node = helper.make_node("GatherND", ["x", "at"], ["y"])
    found = extent(node, {"x": [1, 64]}, {"at": np.zeros((1, 1, 1, 64, 2), np.int64)})
    assert found == {"pieces": 1, "run": 64, "kind": 0}
