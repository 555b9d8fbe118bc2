import math
import random

import pytest

from edgekd.device import load_profile
from edgekd.latency.calibration import Measurement, band, fit, left_out, predicted
from edgekd.latency.conversion import Work

BOARD = load_profile("raspberry-pi-5").latency


def works(seed: int, precision: str = "fp32") -> tuple[Work, ...]:
    draw = random.Random(seed)
    kinds = ("conv_1x1", "conv_3x3", "elementwise")
    return tuple(
        Work(kind, precision, 0.0 if kind == "elementwise" else draw.uniform(1e7, 1e9), draw.uniform(1e7, 5e8))
        for kind in kinds
    )


def measured(constants, *, threads: int, precision: str = "fp32", noise: float = 0.0, count: int = 9):
    draw = random.Random(7)
    rows = []
    for seed in range(count):
        row = Measurement(f"net{seed}", works(seed, precision), precision, threads, 1.0, f"family{seed % 3}")
        taken = predicted(row, constants) * math.exp(draw.gauss(0, noise))
        rows.append(Measurement(row.net, row.works, precision, threads, taken, row.family))
    return rows


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_fit_recovers_the_rates_that_made_the_times(precision):
    rates = getattr(BOARD, precision)
    changed = {
        "multiply_cycles": rates.multiply_cycles * 1.3,
        "other_cycles": rates.other_cycles * 1.3,
        "crowding_ns": rates.crowding_ns * 0.4,
    }
    truth = BOARD.model_copy(update={precision: rates.model_copy(update=changed)})
    rows = measured(truth, threads=1, precision=precision) + measured(truth, threads=4, precision=precision)
    found = getattr(fit(rows, BOARD, prior=0.0), precision)
    for name, value in changed.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-6)


def test_a_precision_that_was_not_measured_stays_as_it_was():
    found = fit(measured(BOARD, threads=4), BOARD)
    assert found.int8 == BOARD.int8


def test_few_rows_are_drawn_towards_the_figures_from_before():
    truth = BOARD.model_copy(update={"fp32": BOARD.fp32.model_copy(update={"crowding_ns": 0.3})})
    before = BOARD.fp32.crowding_ns
    one = fit(measured(truth, threads=4, count=1), BOARD).fp32.crowding_ns
    nine = fit(measured(truth, threads=4), BOARD).fp32.crowding_ns
    assert one == pytest.approx((0.3 + before) / 2)
    assert nine == pytest.approx((9 * 0.3 + before) / 10)


def test_times_shorter_than_the_cycles_leave_no_crowding():
    fast = [
        Measurement(row.net, row.works, row.precision, 4, row.milliseconds / 9) for row in measured(BOARD, threads=4)
    ]
    assert fit(fast, BOARD, prior=0.0).fp32.crowding_ns == 0.0


def test_a_row_does_not_take_part_in_the_fit_that_predicts_it():
    rows = measured(BOARD, threads=4)
    odd = rows[4]
    rows[4] = Measurement(odd.net, odd.works, "fp32", 4, 3 * odd.milliseconds, odd.family)
    found = left_out(rows, BOARD, prior=0.0)
    assert found[4] == pytest.approx(1 / 3)
    assert [ratio for at, ratio in enumerate(found) if at != 4] == pytest.approx([1.0] * 8)


def test_whole_families_are_left_out():
    rows = measured(BOARD, threads=4)
    slow = [
        Measurement(r.net, r.works, "fp32", 4, r.milliseconds * (2 if r.family == "family0" else 1), r.family)
        for r in rows
    ]
    found = left_out(slow, BOARD, prior=0.0, group=lambda row: row.family)
    assert [found[at] for at in (0, 3, 6)] == pytest.approx([0.5] * 3)


def test_the_band_is_students_for_one_more_draw():
    # Two errors of 10 %: t(0.95, 1) = 6.314, times 0.0953 x sqrt(1.5).
    low, high = band([1.1, 1 / 1.1])
    assert high == pytest.approx(math.exp(6.314 * math.log(1.1) * math.sqrt(1.5)), rel=1e-3)
    assert low == pytest.approx(1 / high)


def test_bands_from_left_out_errors_hold_nine_in_ten_further_networks():
    draw = random.Random(3)
    inside = trials = 0
    for _ in range(400):
        errors = [math.exp(draw.gauss(0, 0.1)) for _ in range(9)]
        low, high = band(errors[:-1])
        inside += low <= 1 / errors[-1] <= high
        trials += 1
    assert 0.86 <= inside / trials <= 0.95


def test_left_out_bands_cover_synthetic_networks():
    rows = measured(BOARD, threads=4, noise=0.08, count=24)
    ratios = left_out(rows, BOARD, prior=0.0)
    covered = 0
    for at, ratio in enumerate(ratios):
        low, high = band(ratios[:at] + ratios[at + 1 :])
        covered += low <= 1 / ratio <= high
    assert covered / len(rows) >= 0.85
