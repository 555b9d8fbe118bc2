"""Percentiles and bootstrap against numpy and against a slow reference."""

import numpy as np
import pytest

from edgekd.places.intervals import RESAMPLES, bootstrap, mean, percentile, student_interval
from edgekd.places.timing import latency_of


def test_percentiles_are_numpys() -> None:
    samples = [float(x) for x in np.random.default_rng(3).permutation(101)]  # 0..100: percentile q is q itself
    latency = latency_of(samples)
    found = [latency.p50_ms, latency.p90_ms, latency.p95_ms, latency.p99_ms, latency.mean_ms]
    assert [one.value for one in found] == pytest.approx([50, 90, 95, 99, 50])
    for one in found:
        assert one.low is not None and one.high is not None
        assert one.low <= one.value <= one.high
        assert (one.level, one.unit, one.word, one.place, one.n) == (0.9, "ms", "measured", "host", 101)


def test_bootstrap_draws_blocks_of_neighbours_round_the_end() -> None:
    samples = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0])  # 8 samples: blocks of 8 ** (1/3) = 2
    starts = np.random.default_rng(7).integers(0, 8, (RESAMPLES, 4))
    means = []
    for row in starts:
        drawn = [samples[(start + step) % 8] for start in row for step in range(2)]
        means.append(sum(drawn) / 8)
    low, high = np.quantile(means, [0.05, 0.95])
    assert bootstrap(samples, mean, seed=7) == pytest.approx((255 / 8, low, high))


def test_equal_samples_leave_no_interval() -> None:
    assert bootstrap([2.5] * 60, percentile(95)) == (2.5, 2.5, 2.5)


def test_one_sample_is_its_own_interval() -> None:
    assert bootstrap([2.5], percentile(50)) == (2.5, 2.5, 2.5)


def test_interval_holds_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(200):
        _, low, high = bootstrap(rng.normal(10, 1, 60), mean, seed=trial)
        held += low <= 10 <= high
    assert 160 <= held <= 196  # 180 expected; a little under, as percentile intervals of 60 samples are


def test_alike_neighbours_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    steps = rng.normal(0, 1, 1000)
    alike = np.zeros(1000)
    for i in range(1, 1000):
        alike[i] = 0.9 * alike[i - 1] + steps[i]
    _, low, high = bootstrap(alike, mean)
    _, low_shuffled, high_shuffled = bootstrap(rng.permutation(alike), mean)
    assert high - low > 1.5 * (high_shuffled - low_shuffled)


def test_student_interval_by_hand() -> None:
    # Mean 3, standard deviation sqrt(2.5); t of 4 degrees of freedom at 0.95 is 2.132 in every table.
    value, low, high = student_interval([1, 2, 3, 4, 5], level=0.9)
    half = 2.132 * (2.5**0.5) / 5**0.5
    assert (value, low, high) == pytest.approx((3, 3 - half, 3 + half), abs=1e-3)


@pytest.mark.parametrize(("n", "level", "t"), [(2, 0.9, 6.314), (6, 0.9, 2.015), (6, 0.99, 4.032), (31, 0.95, 2.042)])
def test_student_quantiles_are_the_tables(n: int, level: float, t: float) -> None:
    samples = [1.0, -1.0] + [0.0] * (n - 2)
    value, _, high = student_interval(samples, level=level)
    standard_error = (2 / (n - 1)) ** 0.5 / n**0.5
    assert (high - value) / standard_error == pytest.approx(t, abs=2e-3)
