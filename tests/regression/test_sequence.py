"""The sequence of intervals against integration and simulation, and what is decided by it."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from edgekd.places.intervals import student_interval
from edgekd.regression.sequence import PRECISION, confidence_sequence, decide, first_seen

RULE = {"smallest_effect": 0.03, "level": 0.95}
Draw = Callable[[np.random.Generator, int], npt.NDArray[np.float64]]


@pytest.mark.parametrize("samples", [[0.1, -0.2, 0.4, 0.3], list(np.random.default_rng(1).normal(5, 2, 12))])
@pytest.mark.parametrize("level", [0.95, 0.99])
def test_bounds_are_where_the_likelihood_ratio_is_one_over_alpha(samples: list[float], level: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    n = len(samples)
    _, *bounds = confidence_sequence(samples, level=level)
    effects = np.linspace(-40, 40, 40_001)  # in standard deviations; normal with variance 1 / PRECISION
    prior = stats.norm.pdf(effects, scale=PRECISION**-0.5)
    for bound in bounds:
        if not math.isfinite(bound):
            assert (n, level) == (4, 0.99)
            continue
        t = (np.mean(samples) - bound) / (np.std(samples, ddof=1) / math.sqrt(n))
        alternative = np.trapezoid(prior * stats.nct.pdf(t, n - 1, effects * math.sqrt(n)), effects)
        assert alternative / stats.t.pdf(t, n - 1) == pytest.approx(1 / (1 - level), rel=1e-3)


def test_four_samples_by_hand() -> None:
    # n = 4, level 0.95: ratio = (4.25 / 0.25) ** (1/4) * 20 ** (2/4) = 2.0305 * 4.4721 = 9.0807;
    # room = 4.25 - 9.0807 * 0.25 = 1.9798; t = sqrt(8.0807 * 4.25 * 3 / 1.9798) = 7.2139.
    value, low, high = confidence_sequence([1.0, 3.0, 1.0, 3.0], level=0.95)
    half = 7.2139 * math.sqrt(4 / 3) / 2
    assert (value, low, high) == pytest.approx((2, 2 - half, 2 + half), abs=1e-3)


def test_three_samples_say_nothing() -> None:
    assert confidence_sequence([1.0, 1.0, 1.0], level=0.95) == (1.0, -math.inf, math.inf)
    assert confidence_sequence([1.0], level=0.95) == (1.0, -math.inf, math.inf)


def test_it_may_be_looked_at_after_every_sample() -> None:
    rng = np.random.default_rng(0)
    missed, missed_by_student = 0, 0
    for trial in range(600):
        samples = rng.normal(7, 3, 30)
        looks = [samples[:n] for n in range(4, 31)]
        missed += not all(low <= 7 <= high for _, low, high in (confidence_sequence(s, level=0.95) for s in looks))
        ends = (student_interval(s, level=0.95) for s in looks[::5] if trial < 100)  # at every fifth look only
        missed_by_student += not all(low <= 7 <= high for _, low, high in ends)
    assert missed <= 45  # at most 30 expected, standard deviation 5.3
    assert missed_by_student > 10  # of 100; 5 are the promise


def normal(spread: float) -> Draw:
    return lambda rng, n: rng.normal(0, spread, n)


def heavy_tailed(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
    return 0.007 * rng.standard_t(3, n)


def by_load_order(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
    """The model that is loaded first is 0.6 % slower, and every fifth process is disturbed, to either side."""
    order = np.where(np.arange(n) % 2, -0.006, 0.006)
    return order + rng.normal(0, np.where(rng.random(n) < 0.2, 0.03, 0.006))


def verdicts(slowdown: float, draw: Draw, *, trials: int, processes: int = 30) -> list[tuple[str, int]]:
    """What is decided after each pair of processes, and after how many."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(trials):
        logs = list(math.log1p(slowdown) + draw(rng, processes))
        decided = ((decide(logs[:n], **RULE), n) for n in range(2, processes + 1, 2))
        found.append(next(((verdict, n) for verdict, n in decided if verdict), ("inconclusive", processes)))
    return found


@pytest.mark.parametrize("draw", [normal(0.01), normal(0.02), heavy_tailed, by_load_order])
def test_a_build_against_itself_passes_and_5_percent_is_caught(draw: Draw) -> None:
    same = verdicts(0.0, draw, trials=300)
    assert [verdict for verdict, _ in same].count("regression") == 0
    assert [verdict for verdict, _ in same].count("pass") >= 296
    assert np.median([n for _, n in same]) <= 8
    slower = verdicts(0.05, draw, trials=300)
    assert [verdict for verdict, _ in slower].count("regression") >= 296
    assert np.median([n for _, n in slower]) <= 14


def test_less_than_the_smallest_effect_hardly_ever_fails_and_more_hardly_ever_passes() -> None:
    below = [verdict for verdict, _ in verdicts(0.02, normal(0.01), trials=300)]
    assert below.count("regression") <= 6 and below.count("pass") >= 240
    above = [verdict for verdict, _ in verdicts(0.04, normal(0.01), trials=300)]
    assert above.count("regression") >= 294 and above.count("pass") == 0


def test_a_disturbed_machine_is_inconclusive_rather_than_wrong() -> None:
    same = [verdict for verdict, _ in verdicts(0.0, normal(0.08), trials=300)]
    assert same.count("regression") <= 1
    assert same.count("inconclusive") > 150


def test_10_percent_less_is_an_improvement() -> None:
    assert {verdict for verdict, _ in verdicts(-0.1, normal(0.01), trials=50)} == {"improvement"}


SLOW, SAME = [0.048, 0.050, 0.052, 0.050], [0.001, -0.001, 0.002, -0.002]


def test_a_regression_is_failed_only_when_fresh_processes_find_it_too() -> None:
    assert first_seen(SLOW, **RULE) == 4
    assert decide(SLOW, **RULE) is None  # seen, and not run again yet
    assert decide(SLOW + SLOW[:2], **RULE) is None  # two fresh ones have no interval
    assert decide(SLOW + SLOW, **RULE) == "regression"
    assert decide(SLOW + SAME, **RULE) is None  # neither slower nor as fast
    assert decide(SLOW + 8 * SAME, **RULE) == "pass"
    assert first_seen(SAME, **RULE) is None and decide(SAME, **RULE) == "pass"


def test_fresh_processes_must_find_it_as_large_and_as_sure() -> None:
    assert decide(SLOW + [x - 0.03 for x in SLOW], **RULE) is None  # the fresh ones 2 %, all together 3.5 %
    assert decide([*SLOW, 0.0, 0.1, 0.0, 0.1], **RULE) is None  # 5 % on average, and anything


def test_an_effect_is_worth_failing_by_its_value_and_sure_by_its_interval() -> None:
    assert decide([x - 0.03 for x in 2 * SLOW], **RULE) == "pass"  # surely 2 %
    around = [0.00, 0.07, 0.01, 0.08, 0.02, 0.06]
    assert decide(around, **RULE) is None  # 4 %, perhaps 0
    assert decide(8 * around, **RULE) == "regression"  # 4 %, perhaps 3, surely not 0


def test_limits_are_ratios_not_logarithms() -> None:
    assert decide([math.log(1.03) + x for x in 2 * [1e-5, 2e-5, 1e-5, 2e-5]], **RULE) == "regression"
    assert decide([math.log(1.03) - x for x in 2 * [1e-5, 2e-5, 1e-5, 2e-5]], **RULE) == "pass"
    assert decide([math.log(0.97) - x for x in [1e-5, 2e-5, 1e-5, 2e-5]], **RULE) == "improvement"
    assert decide([math.log(0.97) + x for x in [1e-5, 2e-5, 1e-5, 2e-5]], **RULE) == "pass"
    assert decide([0.005, -0.07, 0.005, -0.07, 0.005, -0.09] * 3, **RULE) == "pass"  # by its value less, but not surely
