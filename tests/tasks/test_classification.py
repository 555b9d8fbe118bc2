"""Scores by hand arithmetic and against scikit-learn, and intervals by how often they hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score, top_k_accuracy_score

from edgekd.tasks.classification import (
    CLASSIFICATION,
    agreement,
    bootstrap_interval,
    chance,
    correct,
    expected_calibration_error,
    near_chance,
    paired_difference,
    per_class_recall,
    score_number,
    top5,
)

RNG = np.random.default_rng(7)
LOGITS = RNG.normal(size=(500, 9)).astype(np.float32)
LABELS = np.where(RNG.random(500) < 0.4, LOGITS.argmax(1), RNG.integers(0, 9, 500))


def test_agrees_with_scikit_learn() -> None:
    guesses = LOGITS.argmax(1)
    found = CLASSIFICATION.metrics(LOGITS, LABELS)
    assert found["accuracy"] == pytest.approx(accuracy_score(LABELS, guesses))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(LABELS, guesses))
    assert found["top5"] == pytest.approx(top_k_accuracy_score(LABELS, LOGITS, k=5))
    assert per_class_recall(LOGITS, LABELS) == pytest.approx(recall_score(LABELS, guesses, average=None))


def test_no_top5_among_five_classes_and_recall_of_absent_classes() -> None:
    logits = np.eye(5, dtype=np.float32)[[0, 1, 1]]
    assert "top5" not in CLASSIFICATION.metrics(logits, np.array([0, 1, 0]))
    assert per_class_recall(logits, np.array([0, 1, 0])).tolist()[:2] == [0.5, 1.0]
    assert np.isnan(per_class_recall(logits, np.array([0, 1, 0]))[2:]).all()


def test_constant_logits_earn_no_top5_beyond_the_first_five_classes() -> None:
    assert top5(np.zeros((10, 10)), np.arange(10)) == 0.5


def test_nan_is_never_right() -> None:
    logits = np.array([[np.nan, 1.0], [np.nan, np.nan], [0.0, 1.0]])
    assert correct(logits, np.array([0, 1, 1])).tolist() == [False, False, True]
    assert np.isfinite(list(CLASSIFICATION.metrics(logits, np.array([0, 1, 1])).values())).all()


def test_calibration_error_by_hand() -> None:
    # Two classes; a confidence of p needs logits log(p / (1 - p)) and 0.
    # Bins of width 1/15: 0.70 lies in (10/15, 11/15], 0.90 in (13/15, 14/15].
    confidence = np.array([0.7, 0.7, 0.7, 0.7, 0.9, 0.9])
    logits = np.stack([np.log(confidence / (1 - confidence)), np.zeros(6)], axis=1)
    labels = np.array([0, 0, 1, 1, 0, 0])  # accuracy 0.5 in the first bin, 1.0 in the second
    by_hand = 4 / 6 * abs(0.5 - 0.7) + 2 / 6 * abs(1.0 - 0.9)
    assert expected_calibration_error(logits, labels) == pytest.approx(by_hand)


def test_certain_and_right_is_calibrated() -> None:
    logits = 1000.0 * np.eye(4)
    assert expected_calibration_error(logits, np.arange(4)) == 0
    assert expected_calibration_error(logits, (np.arange(4) + 1) % 4) == 1


def test_agreement_counts_equal_predictions() -> None:
    teacher = np.eye(3)[[0, 1, 2, 0]]
    student = np.eye(3)[[0, 1, 1, 0]] * 9
    assert agreement(student, teacher) == 0.75


def test_interval_of_a_known_share() -> None:
    hits = np.arange(1000) < 900
    low, high = bootstrap_interval(hits)
    half = 1.645 * np.sqrt(0.9 * 0.1 / 1000)  # normal approximation at 90 %
    assert low == pytest.approx(0.9 - half, abs=0.002) and high == pytest.approx(0.9 + half, abs=0.002)
    assert bootstrap_interval(hits) == (low, high)


def test_interval_holds_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    truth, trials = 0.8, 400
    held = 0
    for trial in range(trials):
        low, high = bootstrap_interval(rng.random(300) < truth, seed=trial)
        held += low <= truth <= high
    assert 0.85 <= held / trials <= 0.95


def test_all_right_is_not_certain() -> None:
    number = score_number(np.ones(36, bool), "host")
    assert (number.value, number.high, number.n, number.word) == (1.0, 1.0, 36, "measured")
    assert number.low == pytest.approx(0.05 ** (1 / 36))
    assert bootstrap_interval(np.zeros(36, bool))[1] == pytest.approx(1 - 0.05 ** (1 / 36))


def test_paired_difference_by_hand() -> None:
    a, b = np.zeros(100, bool), np.zeros(100, bool)
    a[:90], b[:80] = True, True  # ten images only a gets right
    number = paired_difference(a, b)
    half = 1.645 * np.sqrt((0.1 - 0.01) / 100)
    assert number.value == pytest.approx(0.1) and number.n == 100
    assert number.low == pytest.approx(0.1 - half, abs=0.011) and number.high == pytest.approx(0.1 + half, abs=0.011)
    same = paired_difference(a, a)
    assert (same.value, same.low, same.high) == (0, 0, 0)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_paired_difference_is_antisymmetric_and_inside(pairs: list[tuple[bool, bool]]) -> None:
    a, b = (np.array(column, bool) for column in zip(*pairs, strict=True))
    forth, back = paired_difference(a, b), paired_difference(b, a)
    assert forth.value == -back.value == pytest.approx(a.mean() - b.mean())
    assert forth.low is not None and forth.high is not None and -1 <= forth.low <= forth.high <= 1


def test_chance_is_the_most_frequent_class_or_one_in_classes() -> None:
    assert chance(np.arange(10), 10) == 0.1
    assert chance(np.array([0, 0, 0, 1]), 2) == 0.75
    assert chance(np.arange(4), 4) == 0.25


def test_near_chance_speaks_and_keeps_silent() -> None:
    labels = np.arange(1000) % 10
    said = near_chance(0.098, labels, 10)
    assert said == (
        "teacher scores 9.8 %, chance is 10 %: weights not loaded, wrong normalisation or wrong class order?"
    )
    three_errors = 0.1 + 3 * np.sqrt(0.1 * 0.9 / 1000)
    assert near_chance(three_errors - 0.001, labels, 10) and near_chance(three_errors + 0.001, labels, 10) is None
    assert near_chance(0.9339, labels, 10) is None


def test_few_images_do_not_stop_a_good_teacher() -> None:
    labels = np.arange(8) % 2  # three standard errors above one half is more than 100 %
    assert near_chance(7 / 8, labels, 2) is None and near_chance(5 / 8, labels, 2)
