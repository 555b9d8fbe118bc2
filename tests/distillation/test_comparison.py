"""Likeness to the teacher by hand arithmetic, against scipy, and against resampling done the long way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax, rel_entr, softmax

from edgekd.distillation.comparison import (
    INHERITED,
    OWN_MISTAKE,
    RIGHT,
    class_gains,
    compare,
    inherited_excess,
    inherited_mistakes,
    mean_kl,
    outcomes_of,
)
from edgekd.figures import Role
from edgekd.tasks.classification import CLASSIFICATION
from edgekd.tasks.regression import REGRESSION


def logits(*classes: int) -> np.ndarray:
    """One row per class index, sure of it."""
    return 5.0 * np.eye(4, dtype=np.float32)[list(classes)]


LABELS = np.array([0, 0, 1, 1, 2, 2, 3, 3])
TEACHER = logits(0, 1, 1, 2, 2, 0, 3, 3)  # wrong on the second, fourth and sixth
STUDENT = logits(0, 1, 1, 2, 2, 3, 3, 0)  # repeats two of the teacher's mistakes, makes two of its own
CONTROL = logits(0, 1, 0, 3, 0, 1, 3, 3)  # repeats one, makes four of its own


def test_mistakes_are_told_apart_by_hand() -> None:
    expected = [RIGHT, INHERITED, RIGHT, INHERITED, RIGHT, OWN_MISTAKE, RIGHT, OWN_MISTAKE]
    assert outcomes_of(STUDENT, TEACHER, LABELS).tolist() == expected
    share = inherited_mistakes(outcomes_of(STUDENT, TEACHER, LABELS))
    assert share is not None
    assert (share.value, share.n, share.unit) == (0.5, 4, "share")


def test_the_controls_share_is_taken_off() -> None:
    student, control = outcomes_of(STUDENT, TEACHER, LABELS), outcomes_of(CONTROL, TEACHER, LABELS)
    found = inherited_excess(student, control)
    assert found is not None
    assert found.value == pytest.approx(2 / 4 - 1 / 5)
    back = inherited_excess(control, student)
    assert back is not None and back.value == pytest.approx(-found.value)


def test_nobody_inherits_without_a_mistake() -> None:
    right = outcomes_of(logits(*LABELS), TEACHER, LABELS)
    assert inherited_mistakes(right) is None
    assert inherited_excess(right, outcomes_of(CONTROL, TEACHER, LABELS)) is None


def test_two_that_say_nothing_inherit_nothing() -> None:
    nothing = np.full((8, 4), np.nan, np.float32)
    assert set(outcomes_of(nothing, nothing, LABELS)) == {OWN_MISTAKE}


def test_the_excess_interval_is_that_of_resampled_samples() -> None:
    rng = np.random.default_rng(3)
    student = rng.choice(3, 600, p=[0.8, 0.11, 0.09])
    control = np.where(rng.random(600) < 0.5, student, rng.choice(3, 600, p=[0.7, 0.25, 0.05]))

    def share(outcomes: np.ndarray) -> float:
        return float((outcomes == INHERITED).sum() / (outcomes != RIGHT).sum())

    drawn = [share(student[rows]) - share(control[rows]) for rows in rng.integers(0, 600, (4000, 600))]
    found = inherited_excess(student, control)
    assert found is not None
    assert found.value == pytest.approx(share(student) - share(control))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.05, 0.95])), abs=0.006)


def test_kl_agrees_with_scipy() -> None:
    rng = np.random.default_rng(1)
    teacher, model = rng.normal(0, 3, (300, 7)), rng.normal(0, 3, (300, 7))
    rows = rel_entr(softmax(teacher, axis=1), softmax(model, axis=1)).sum(axis=1)
    found = mean_kl(teacher, model)
    assert found is not None and found.low is not None and found.high is not None
    assert found.value == pytest.approx(rows.mean(), rel=1e-12)
    half = 1.65 * rows.std(ddof=1) / 300**0.5
    assert (found.low, found.high) == pytest.approx((rows.mean() - half, rows.mean() + half), rel=1e-3)
    assert found.unit == "nats"


def test_kl_by_hand_and_its_direction() -> None:
    # Teacher 3/4 and 1/4, student 1/2 and 1/2.
    teacher, even = np.log([[3.0, 1.0]]), np.zeros((1, 2))
    forward = mean_kl(teacher, even)
    backward = mean_kl(even, teacher)
    assert forward is not None and backward is not None
    assert forward.value == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5))
    assert backward.value == pytest.approx(0.5 * np.log(2 / 3) + 0.5 * np.log(2))
    assert forward.low is None


finite = arrays(np.float32, (4, 3), elements=st.floats(-1000, 1000, width=32))


@settings(deadline=None)
@given(finite, finite, arrays(np.float32, (4, 1), elements=st.floats(-50, 50, width=32)))
def test_kl_is_not_negative_and_knows_no_shift(teacher: np.ndarray, model: np.ndarray, shift: np.ndarray) -> None:
    found = mean_kl(teacher, model)
    assert found is not None and found.value >= 0
    own = mean_kl(teacher, teacher + shift)
    assert own is not None and own.value == pytest.approx(0, abs=2e-4)


def test_kl_that_is_no_number_is_not_given() -> None:
    sure = np.array([[0.0, -np.inf]])
    assert mean_kl(np.zeros((1, 2)), sure) is None
    assert mean_kl(np.array([[np.nan, 0.0]]), sure) is None
    ruled_out = mean_kl(sure, np.zeros((1, 2)))  # what the teacher rules out costs nothing
    assert ruled_out is not None and ruled_out.value == pytest.approx(np.log(2))


def test_class_gains_by_hand() -> None:
    found = class_gains(STUDENT, CONTROL, LABELS, classes=("ant", "bee", "cat"))
    assert {name: gain.value for name, gain in found.items()} == {"ant": 0.0, "bee": 0.5, "cat": 0.5, "3": -0.5}
    assert found["bee"].n == 2 and found["bee"].unit == "fraction"
    assert found["ant"].low is None and found["ant"].high is None
    assert set(class_gains(STUDENT[:4], CONTROL[:4], LABELS[:4])) == {"0", "1"}


def test_one_sample_is_no_certainty() -> None:
    gain = class_gains(logits(0), logits(1), np.array([0]))["0"]
    assert (gain.value, gain.low, gain.high) == (1.0, None, None)


def test_a_whole_comparison() -> None:
    outputs: dict[Role, np.ndarray] = {"teacher": TEACHER, "control": CONTROL, "student": STUDENT}
    found = compare(CLASSIFICATION, outputs, LABELS, cka={"student": {"layer1 ~ layer2": 0.9}})
    agreement = found.fidelity["student"].agreement
    assert agreement is not None
    assert agreement.value == 6 / 8
    assert set(found.fidelity) == {"control", "student"}
    assert found.fidelity["student"].cka == {"layer1 ~ layer2": 0.9} and found.fidelity["control"].cka == {}
    # Every row is as sure: exp(5) / (exp(5) + 3); five of eight are right.
    confidence = float(np.exp(log_softmax([5.0, 0, 0, 0]))[0])
    assert found.expected_calibration_error["teacher"] == pytest.approx(confidence - 5 / 8)
    assert found.inherited_excess is not None and set(found.class_gains) == {"0", "1", "2", "3"}


def test_without_a_control_nothing_is_held_against_it() -> None:
    found = compare(CLASSIFICATION, {"teacher": TEACHER, "shipped": STUDENT}, LABELS)
    assert found.inherited_excess is None and found.class_gains == {}
    assert found.fidelity["shipped"].inherited_mistakes is not None


def test_numbers_are_compared_by_their_score_alone() -> None:
    teacher = np.arange(20, dtype=np.float32)[:, None]
    found = compare(REGRESSION, {"teacher": teacher, "student": teacher + 1, "control": teacher}, teacher)
    agreement = found.fidelity["student"].agreement
    assert agreement is not None
    assert agreement.value == pytest.approx(1 - 20 / np.square(np.arange(20) - 9.5).sum())
    assert found.fidelity["student"].kl is None and found.expected_calibration_error == {}
