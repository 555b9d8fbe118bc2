"""What the teacher was worth, by hand arithmetic, and intervals by how often they hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edgekd.distillation.judge import gain_over_folds, gap_recovered, judgement, mean_scores, over_repeats
from edgekd.figures import Number
from edgekd.judgement import FoldResult, SeedResult


def number(value: float, unit: str = "score") -> Number:
    return Number(value=value, low=value - 0.01, high=value + 0.01, unit=unit, word="measured", place="host", n=1000)


def seed_result(seed: int, teacher: float, control: float, student: float) -> SeedResult:
    return SeedResult(
        seed=seed,
        teacher=number(teacher),
        control=number(control),
        student=number(student),
        gain=number(student - control),
        steps=100,
        seconds=1.0,
    )


def fold_result(fold: int, gain: float) -> FoldResult:
    one = seed_result(0, 0.9, 0.8, 0.8 + gain).model_dump(exclude={"seed"})
    return FoldResult.model_validate({**one, "fold": fold})


SEEDS = (seed_result(0, 0.95, 0.90, 0.92), seed_result(1, 0.95, 0.88, 0.92), seed_result(2, 0.95, 0.89, 0.91))


def test_gain_over_seeds_by_hand() -> None:
    # Gains 0.02, 0.04, 0.02: mean 0.08 / 3, standard deviation sqrt(4 / 3) / 100, t(0.95, 2) = 2.91999.
    gain = judgement(seeds=SEEDS).gain_over_seeds
    assert gain is not None and gain.low is not None and gain.high is not None
    half = 2.91999 * (4 / 3) ** 0.5 / 100 / 3**0.5
    assert gain.value == pytest.approx(0.08 / 3)
    assert (gain.low, gain.high) == pytest.approx((0.08 / 3 - half, 0.08 / 3 + half), rel=1e-4)
    assert (gain.n, gain.level, gain.word, gain.place) == (3, 0.9, "measured", "host")


def test_one_seed_claims_nothing_about_seeds() -> None:
    found = judgement(seeds=SEEDS[:1])
    assert found.gain_over_seeds is None and found.seed_scores == {}
    assert found.gap_recovered is not None
    assert found.gap_recovered.value == pytest.approx(0.02 / 0.05)
    assert found.gap_recovered.low is None and found.gap_recovered.high is None


def test_a_judgement_of_nothing_is_empty() -> None:
    found = judgement()
    assert found.gain_over_seeds is None and found.gap_recovered is None and found.gain_over_folds is None


def test_equal_repeats_have_no_interval_rather_than_certainty() -> None:
    found = over_repeats([number(0.5)] * 3)
    assert found is not None
    assert (found.value, found.low, found.high, found.n) == (0.5, None, None, 3)


def test_a_fixed_teacher_keeps_its_interval_over_samples() -> None:
    scores = mean_scores(SEEDS)
    assert scores["teacher"] == number(0.95)
    assert scores["control"].value == pytest.approx(0.89)
    assert scores["student"].value == pytest.approx(2.75 / 3)
    assert scores["control"].n == 3
    assert mean_scores((SEEDS[0], seed_result(1, 0.93, 0.9, 0.9)))["teacher"].value == pytest.approx(0.94)


def test_gap_recovered_by_hand() -> None:
    # Gains 2, 4, 2 and gaps 5, 7, 6 points: 8 / 18. Residuals gain - 8/18 gap: -2/9, 8/9, -6/9, over a mean gap of 6.
    found = gap_recovered(SEEDS)
    assert found is not None and found.low is not None and found.high is not None
    assert found.value == pytest.approx(8 / 18)
    half = 2.91999 * np.std(np.array([-2, 8, -6]) / 9 / 6, ddof=1) / 3**0.5
    assert (found.low, found.high) == pytest.approx((8 / 18 - half, 8 / 18 + half), rel=1e-4)
    assert found.unit == "share"


@pytest.mark.parametrize(
    "controls",
    [
        (0.95, 0.96),  # above the teacher
        (0.95, 0.95),  # equal to it
        (0.80, 0.96),  # below on average, by less than the seeds scatter
    ],
)
def test_no_gap_is_recovered_where_there_is_none(controls: tuple[float, float]) -> None:
    assert gap_recovered([seed_result(i, 0.95, control, 0.97) for i, control in enumerate(controls)]) is None


@given(st.lists(st.tuples(st.integers(0, 80), st.integers(0, 100)), min_size=1, max_size=6))
def test_a_student_as_good_as_the_teacher_recovers_all_and_the_control_nothing(pairs: list[tuple[int, int]]) -> None:
    for share in (0.0, 1.0):
        runs = [
            seed_result(i, 0.9, control / 100, control / 100 + share * (0.9 - control / 100))
            for i, (control, _) in enumerate(pairs)
        ]
        found = gap_recovered(runs)
        assert found is None or found.value == pytest.approx(share, abs=1e-9)


def test_folds_get_the_wider_interval() -> None:
    # Nadeau and Bengio: variance / k becomes variance * (1 / k + 1 / (k - 1)).
    gains = np.array([0.01, 0.03, 0.02, 0.05])
    found = gain_over_folds([fold_result(i, gain) for i, gain in enumerate(gains)])
    assert found is not None and found.low is not None and found.high is not None
    half = stats.t.ppf(0.95, 3) * gains.std(ddof=1) * (1 / 4 + 1 / 3) ** 0.5
    assert (found.low, found.high) == pytest.approx((gains.mean() - half, gains.mean() + half), rel=1e-3)
    assert gain_over_folds([fold_result(0, 0.01)]) is None


def test_intervals_over_seeds_hold_as_often_as_they_say() -> None:
    rng, trials = np.random.default_rng(0), 150
    held = {"gain": 0, "gap": 0}
    for _ in range(trials):
        control = 0.88 + 0.01 * rng.standard_normal(5)
        student = 0.88 + 0.6 * 0.07 + 0.01 * rng.standard_normal(5)
        runs = [seed_result(i, 0.95, control[i], student[i]) for i in range(5)]
        gain = over_repeats([run.gain for run in runs])
        for name, figure, truth in (("gain", gain, 0.042), ("gap", gap_recovered(runs), 0.6)):
            assert figure is not None and figure.low is not None and figure.high is not None
            held[name] += figure.low <= truth <= figure.high
    assert all(0.84 < count / trials < 0.96 for count in held.values())
