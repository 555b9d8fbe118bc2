"""Classes and boxes of the app graph against the pipeline's own."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.artifact.app.graph import app_graph
from edgekd.artifact.contract import Boxes
from edgekd.artifact.parity.answers import answers_of
from edgekd.preprocessing import Preprocessing

HEIGHT, WIDTH = 48, 64


def classes_of(open_app, logits: np.ndarray) -> tuple[list[int], np.ndarray]:
    how = Preprocessing(identity=True, input_shape=logits.shape)
    run = open_app(how, task="classification", opset=13)
    indices, shares = run(input=logits.astype(np.float32))
    assert indices.dtype == np.int64
    assert shares.dtype == np.float32
    return indices.tolist(), shares


def test_the_five_likeliest_classes_with_their_shares(open_app) -> None:
    logits = np.array([0.5, 3, -1, 2, 0, 2.5, 1], np.float32)
    indices, shares = classes_of(open_app, logits)
    assert indices == [1, 5, 3, 6, 0]
    powers = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(shares, (powers / powers.sum())[indices], rtol=1e-5)


def test_of_two_classes_both(open_app) -> None:
    indices, shares = classes_of(open_app, np.array([0.0, np.log(3)]))
    assert indices == [1, 0]
    np.testing.assert_allclose(shares, [0.75, 0.25], rtol=1e-6)


def test_of_equal_classes_the_first_comes_first(open_app) -> None:
    assert classes_of(open_app, np.array([1.0, 2, 2, 1, 2, 0]))[0] == [1, 2, 4, 0, 3]


def test_logits_decide_where_softmax_makes_the_same_number_of_two(open_app) -> None:
    nearly = np.nextafter(np.float32(0.1), np.float32(1))
    indices, shares = classes_of(open_app, np.array([-30.0, 0.1, nearly], np.float32))
    assert shares[0] == shares[1]
    assert indices[0] == 2


def test_what_is_softmaxed_already_is_not_again(load_app, contract_for) -> None:
    shares = np.array([[0.1, 0.7, 0.2]], np.float32)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["stored"], ["logits"])],
        "sure",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 4))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 3))],
        [numpy_helper.from_array(shares, "stored")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    how = Preprocessing(identity=True, input_shape=(4,))
    contract = contract_for(how, "classification", {"logits": (3,)}, shares=True)
    indices, said = load_app(app_graph(model, contract, max_opset=13))(input=np.zeros(4, np.float32))
    np.testing.assert_array_equal(said, np.float32([0.7, 0.2, 0.1]))
    [expected] = answers_of(contract, [shares], [(1, 1)])
    assert expected.indices == tuple(indices) == (1, 2, 0)
    assert expected.probabilities == (0.7, 0.2, 0.1)


def test_other_outputs_come_without_a_batch(open_app) -> None:
    how = Preprocessing(identity=True, input_shape=(2, 3))
    said = open_app(how, opset=13)(input=np.arange(6, dtype=np.float32).reshape(2, 3))[0]
    np.testing.assert_array_equal(said, [[0, 1, 2], [3, 4, 5]])


def scene(rng: np.random.Generator, positions: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits of which many are confident, and boxes of which many overlap and a few are turned around or empty."""
    logits = rng.normal(-0.5, 1.5, (positions, classes)).astype(np.float32)
    corner = rng.uniform(0, 60, (positions, 2))
    boxes = np.hstack([corner, corner + rng.uniform(5, 60, (positions, 2))]).astype(np.float32)
    boxes[::17] = boxes[::17][:, [2, 3, 0, 1]]
    boxes[5::23, 2] = boxes[5::23, 0]
    return logits, boxes


def seeing(logits: np.ndarray, boxes: np.ndarray) -> onnx.ModelProto:
    """A detector that says the same of every image of 48 x 64 pixels."""
    said = {"logits": logits[None], "boxes": boxes[None]}
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"stored_{name}"], [name]) for name in said],
        "seeing",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 3, HEIGHT, WIDTH))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in said.items()],
        [numpy_helper.from_array(value, f"stored_{name}") for name, value in said.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize(("positions", "classes"), [(1, 1), (40, 1), (300, 3), (900, 2)])
def test_boxes_are_those_of_the_pipeline(load_app, contract_for, positions, classes) -> None:
    how = Preprocessing(height=HEIGHT, width=WIDTH, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    outputs = {"logits": (positions, classes), "boxes": (positions, 4)}
    contract = contract_for(how, "detection", outputs)
    rng = np.random.default_rng(positions)
    for size in ((48, 64), (480, 640), (33, 500)):
        logits, boxes = scene(rng, positions, classes)
        run = load_app(app_graph(seeing(logits, boxes), contract, max_opset=13))
        found, scores, indices = run(image=np.zeros((*size, 3), np.uint8))
        wanted = answers_of(contract, [logits[None], boxes[None]], [size])[0]
        assert indices.tolist() == list(wanted.indices)
        np.testing.assert_allclose(scores, wanted.scores, atol=2e-6)
        np.testing.assert_allclose(found, np.reshape(wanted.boxes, (-1, 4)), atol=2e-3, rtol=1e-5)


def test_an_object_of_just_the_least_confidence_counts(load_app, contract_for) -> None:
    how = Preprocessing(height=HEIGHT, width=WIDTH, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    contract = contract_for(how, "detection", {"logits": (3, 1), "boxes": (3, 4)})
    contract = contract.model_copy(update={"boxes": Boxes(confidence=0.5)})
    boxes = np.array([[0, 0, 8, 6], [20, 20, 40, 40], [0, 30, 9, 40]], np.float32)
    logits = np.array([[0], [-0.001], [1]], np.float32)  # sigmoids 0.5, less, more
    run = load_app(app_graph(seeing(logits, boxes), contract, max_opset=13))
    found, scores, _ = run(image=np.zeros((2 * HEIGHT, WIDTH, 3), np.uint8))
    np.testing.assert_array_equal(found, [[0, 60, 9, 80], [0, 0, 8, 12]])
    np.testing.assert_allclose(scores, [0.731059, 0.5], rtol=1e-5)


def test_where_nothing_is_seen_there_are_no_boxes(load_app, contract_for) -> None:
    how = Preprocessing(height=HEIGHT, width=WIDTH, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    contract = contract_for(how, "detection", {"logits": (9, 2), "boxes": (9, 4)})
    model = seeing(np.full((9, 2), -5, np.float32), np.ones((9, 4), np.float32))
    found = load_app(app_graph(model, contract, max_opset=13))(image=np.zeros((5, 7, 3), np.uint8))
    assert [one.shape for one in found] == [(0, 4), (0,), (0,)]
