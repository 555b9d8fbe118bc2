"""Scores by hand arithmetic and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    precision_recall_fscore_support,
    recall_score,
    top_k_accuracy_score,
)

from edgekd.errors import BadInput
from edgekd.tasks.classification import (
    CLASSIFICATION,
    agreement,
    chance,
    correct,
    expected_calibration_error,
    mistakes,
    near_chance,
    per_class_recall,
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
    precision, recall, f1, _ = precision_recall_fscore_support(LABELS, guesses, average="macro", zero_division=0)
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx((precision, recall, f1))
    assert per_class_recall(LOGITS, LABELS) == pytest.approx(recall_score(LABELS, guesses, average=None))


def test_classes_that_are_never_answered_or_never_asked_for_count_as_in_scikit_learn() -> None:
    logits, labels = (
        np.eye(5)[[0, 0, 1, 3]],
        np.array([0, 2, 1, 1]),
    )  # 2 is never answered, 3 never asked for, 4 neither
    theirs = precision_recall_fscore_support(labels, logits.argmax(1), average="macro", zero_division=0)[:3]
    found = CLASSIFICATION.metrics(logits, labels)
    assert [found[name] for name in ("precision", "recall", "f1")] == pytest.approx(list(theirs))


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


def test_without_labels_a_teacher_of_one_answer_is_doubted() -> None:
    logits = np.zeros((100, 3))
    logits[:96, 2], logits[96:, 0] = 1, 1
    assert "96.0 % of the unlabelled samples into class 2" in str(CLASSIFICATION.doubt(logits))
    assert CLASSIFICATION.doubt(logits[2:]) is not None and CLASSIFICATION.doubt(logits[20:]) is None


@pytest.mark.parametrize(
    ("shape", "labels", "complaint"),
    [
        ((2, 7, 3), None, r"outputs of shape \(7, 3\) per sample, where a classifier gives logits"),
        ((2, 1), None, "has 1 output; a classifier has one for each class"),
        ((2, 3), np.array([0, 3]), "labels go up to 3, but the model has 3 outputs"),
    ],
)
def test_what_is_no_classifier(shape: tuple[int, ...], labels: np.ndarray | None, complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        CLASSIFICATION.check(shape, labels)
    CLASSIFICATION.check((2, 4), np.array([0, 3]))


def test_the_teachers_word_is_its_predicted_class() -> None:
    assert CLASSIFICATION.truth_of(np.array([[0.1, 0.9], [3.0, -1.0]])).tolist() == [1, 0]


def test_mistakes_are_counted_the_most_frequent_first() -> None:
    answers = [1, 1, 0, 2, 2, 1, 0]
    labels = np.array([0, 0, 0, 1, 1, 1, 2])
    logits = np.eye(3, dtype=np.float32)[answers]
    logits[-1] = np.nan  # answers nothing
    assert mistakes(logits, labels).tolist() == [[0, 1, 2], [1, 2, 2]]
    assert mistakes(logits[2:3], labels[2:3]).shape == (0, 3)
