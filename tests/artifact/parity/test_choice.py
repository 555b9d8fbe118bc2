"""Which samples become parity vectors, on outputs made by hand."""

import numpy as np
import numpy.typing as npt
import pytest

from edgekd.artifact.contract import Contract, Licences, Source, contract_of
from edgekd.artifact.parity.choice import LABELS, LEAST, VECTORS, Known, choose
from edgekd.preprocessing import Preprocessing

IMAGES = Preprocessing(height=20, width=40, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
NAMES = ("a", "b", "c", "d")
Outputs = list[npt.NDArray[np.float32]]


def classifier(labels: tuple[str, ...] | None = NAMES) -> Contract:
    source = Source(target="raspberry-pi-4", shipped="the student")
    return contract_of(
        IMAGES, task="classification", classes=labels, outputs={"logits": (4,)}, licences=Licences(), source=source
    )


def logits(*shares: tuple[int, float]) -> Outputs:
    """One sample each: a class, and its probability, the rest spread over the others."""
    rows = [[share if at == kind else (1 - share) / 3 for at in range(4)] for kind, share in shares]
    return [np.log(np.array(rows, np.float32))]


def known(expected: Outputs, *given: Outputs, **spoiled: Outputs) -> Known:
    return Known(expected, given, spoiled, [(20, 40)] * len(expected[0]))


def test_samples_on_which_the_shipped_file_disagrees_or_the_answer_is_close_are_left_out() -> None:
    expected = logits((0, 0.9), (1, 0.9), (2, 0.27), (3, 0.9))
    found = choose(classifier(), known(expected, logits((0, 0.9), (0, 0.6), (2, 0.27), (3, 0.9))))
    assert found is not None
    assert found.samples == (0, 3)
    assert [vector.labels[0] for vector in found.vectors] == ["a", "d"]
    assert found.tolerance == LEAST


def test_the_tolerance_is_twice_what_is_seen_on_any_machine() -> None:
    expected, here, there = logits((0, 0.9), (1, 0.9)), logits((0, 0.9), (1, 0.87)), logits((0, 0.84), (1, 0.9))
    found = choose(classifier(), known(expected, here, there))
    assert found is not None
    assert found.tolerance.probability == pytest.approx(0.12, abs=1e-3)
    assert found.tolerance.box == LEAST.box
    largest = np.abs(expected[0]).max()
    seen = max(float(np.abs(one[0] - expected[0]).max() / largest) for one in (here, there))
    assert found.tolerance.output == pytest.approx(2 * seen, abs=1e-3)


def test_one_sample_that_catches_a_spoil_is_worth_more_than_eight_that_do_not() -> None:
    sure = [(at % 2, 0.99) for at in range(40)]
    blind = logits(*sure)
    seen = logits(*[(3, 0.99) if at == 39 else one for at, one in enumerate(sure)])
    found = choose(classifier(), known(blind, logits(*sure), swapped=seen, unscaled=blind))
    assert found is not None
    assert len(found.samples) == VECTORS
    assert 39 not in found.samples  # the nearest half is chosen among, and all are alike
    near = logits(*[(kind, 0.98 if at < 20 else 0.99) for at, (kind, _) in enumerate(sure)])
    found = choose(classifier(), known(blind, near, swapped=seen, unscaled=blind))
    assert found is not None
    assert 39 in found.samples
    assert found.not_caught == ("unscaled",)


def test_classes_that_are_not_there_yet_come_before_more_of_the_same() -> None:
    kinds = [(0, 0.9)] * 12 + [(1, 0.9), (2, 0.9), (3, 0.9), (0, 0.9)]
    outputs = logits(*kinds)
    found = choose(classifier(), known(outputs, logits(*kinds[:8], *kinds[8:])))
    assert found is not None
    near = logits(*[(0, 0.88)] * 8, *kinds[8:])
    found = choose(classifier(), known(outputs, near))
    assert found is not None
    assert {vector.indices[0] for vector in found.vectors} == {0, 1, 2, 3}


def test_labels_in_another_order_need_a_class_that_moves() -> None:
    middle = logits((1, 0.9))
    three = classifier(("a", "b", "c"))
    assert choose(three, known(middle, middle)).not_caught == (LABELS,)  # type: ignore[union-attr]
    assert choose(classifier(), known(middle, middle)).not_caught == ()  # type: ignore[union-attr]
    assert choose(classifier(None), known(middle, middle)).not_caught == ()  # type: ignore[union-attr]


def test_there_is_nothing_to_choose_where_every_answer_is_in_doubt() -> None:
    expected = logits((0, 0.9), (1, 0.252))
    assert choose(classifier(), known(expected, logits((1, 0.9), (1, 0.252)))) is None
    outputs = classifier().model_copy(update={"answer": "outputs"})
    found = choose(outputs, known(expected, logits((1, 0.9), (1, 0.252))))
    assert found is not None and len(found.samples) == 2


def test_of_outputs_as_they_come_a_spoil_is_caught_beyond_the_tolerance() -> None:
    outputs = classifier(None).model_copy(update={"answer": "outputs"})
    values = [np.array([[1.0, 2.0, 4.0, -4.0]], np.float32)]
    near, far = [values[0] * np.float32(1.04)], [values[0] * np.float32(1.06)]
    found = choose(outputs, known(values, values, near=near, far=far))
    assert found is not None
    assert found.not_caught == ("near",)


def detector() -> Contract:
    source = Source(target="raspberry-pi-4", shipped="the student")
    return contract_of(
        IMAGES,
        task="detection",
        classes=("cat", "dog"),
        outputs={"logits": (2, 2), "boxes": (2, 4)},
        licences=Licences(),
        source=source,
    )


def scenes(*scores: float) -> Outputs:
    """One image each with one cat of this score, and a position that holds nothing."""
    shares = np.array([[[score, 0.01], [0.01, 0.01]] for score in scores], np.float32)
    places = np.tile(np.array([[4.0, 4, 12, 12], [20, 4, 30, 12]], np.float32), (len(scores), 1, 1))
    return [np.log(shares / (1 - shares)), places]


def test_where_all_answers_are_close_the_tolerance_is_less() -> None:
    expected = scenes(0.43, 0.37)
    found = choose(detector(), known(expected, scenes(0.431, 0.371)))
    assert found is not None
    assert found.samples == (0,) and found.tolerance.probability == 0.01
    assert choose(detector(), known(scenes(0.405), scenes(0.406))) is None


def test_objects_near_the_least_confidence_are_in_doubt_and_empty_images_tell_little() -> None:
    expected = scenes(0.9, 0.42, 0.38, 0.02)
    found = choose(detector(), known(expected, scenes(0.9, 0.42, 0.38, 0.02)))
    assert found is not None
    assert found.samples == (0,)
    assert found.vectors[0].boxes == ((4, 4, 12, 12),)
    nothing = scenes(0.02, 0.03)
    assert choose(detector(), known(nothing, nothing)) is not None
