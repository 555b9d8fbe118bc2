"""What an app is to answer, by hand."""

import numpy as np
import pytest

from edgekd.artifact.contract import Contract, Licences, Source, contract_of
from edgekd.artifact.parity.answers import Vector, answers_of, differences
from edgekd.preprocessing import Preprocessing

IMAGES = Preprocessing(height=20, width=40, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)


def contract(task: str, *, labels: tuple[str, ...] | None = ("cat", "dog"), **outputs: tuple[int, ...]) -> Contract:
    source = Source(target="raspberry-pi-4", shipped="the student")
    return contract_of(IMAGES, task=task, classes=labels, outputs=outputs, licences=Licences(), source=source)


def test_the_likeliest_classes_come_first() -> None:
    logits = np.log(np.array([[0.1, 0.6, 0.3], [0.5, 0.25, 0.25]], np.float32)) + 7
    first, second = answers_of(contract("classification", labels=("a", "b", "c"), logits=(3,)), [logits], [(1, 1)] * 2)
    assert first == Vector(labels=("b", "c", "a"), indices=(1, 2, 0), probabilities=(0.6, 0.3, 0.1))
    assert second.indices == (0, 1, 2)


def test_of_many_classes_five_and_without_names_their_numbers() -> None:
    [found] = answers_of(
        contract("classification", labels=None, logits=(9,)), [np.arange(9, dtype=np.float32)[None]], [(1, 1)]
    )
    assert found.indices == (8, 7, 6, 5, 4) and found.labels == ("8", "7", "6", "5", "4")


def test_boxes_are_in_pixels_of_the_raw_image_without_doubles_and_doubtful_ones() -> None:
    logits = np.array([[[2.0, -9], [1.0, -9], [-9, 0.0], [-9, -0.5]]], np.float32)
    boxes = np.array([[[0, 0, 20, 10], [1, 0, 20, 10], [0, 0, 20, 10], [30, 0, 40, 20]]], np.float32)
    how = contract("detection", logits=(4, 2), boxes=(4, 4))
    [found] = answers_of(how, [logits, boxes], [(60, 80)])
    assert found.labels == ("cat", "dog")  # the second cat overlaps the first by 0.95, the second dog has 0.38
    assert found.scores == pytest.approx((1 / (1 + np.exp(-2)), 0.5), abs=1e-6)
    assert found.boxes == ((0, 0, 40, 30), (0, 0, 40, 30))  # 80 over 40 across, 60 over 20 down


def test_numbers_as_they_come_are_no_answer() -> None:
    assert (
        answers_of(contract("regression", labels=None, output=(1,)), [np.ones((2, 1), np.float32)], [(1, 1)] * 2)
        == [Vector()] * 2
    )


def classes(index: int, probability: float, label: str = "x") -> Vector:
    return Vector(labels=(label,), indices=(index,), probabilities=(probability,))


def test_of_classes_the_first_is_compared() -> None:
    assert differences(classes(1, 0.9), classes(1, 0.75), 1) == pytest.approx((0.15, 0))
    assert differences(classes(1, 0.9), classes(2, 0.9), 1) is None
    assert differences(classes(1, 0.9), classes(1, 0.9, "y"), 1) is None
    assert differences(classes(1, 0.9), Vector(), 1) is None


def boxes(*found: tuple[int, float, tuple[float, float, float, float]]) -> Vector:
    return Vector(
        indices=tuple(kind for kind, _, _ in found),
        labels=tuple(str(kind) for kind, _, _ in found),
        scores=tuple(score for _, score, _ in found),
        boxes=tuple(box for _, _, box in found),
    )


def test_boxes_find_their_partner_whatever_the_order() -> None:
    left, right = (0.0, 0.0, 10.0, 10.0), (50.0, 0.0, 60.0, 10.0)
    expected = boxes((0, 0.9, left), (0, 0.8, right))
    moved = boxes((0, 0.85, (52.0, 0.0, 60.0, 10.0)), (0, 0.82, left))
    assert differences(expected, moved, 100) == pytest.approx((0.08, 0.02))
    assert differences(expected, boxes((0, 0.9, left)), 100) is None
    assert differences(expected, boxes((0, 0.9, left), (1, 0.8, right)), 100) is None
    assert differences(boxes(), boxes(), 100) == (0, 0)
    elsewhere = boxes((0, 0.9, left), (0, 0.8, (56.0, 0.0, 66.0, 10.0)))
    assert differences(expected, elsewhere, 100) is None
