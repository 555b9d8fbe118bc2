import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.device import LatencyConstants, Rates, list_profiles, load_profile
from edgekd.latency.conversion import Work, cores_at_work, milliseconds, time_from_counts, waiting

BOARD = LatencyConstants(
    level="dotprod",
    threads=4,
    speeds_ghz=(2.0, 2.0, 1.0, 1.0),
    bandwidth_gb_s=10.0,
    fp32=Rates(multiply_cycles=0.5, other_cycles=0.25, crowding_ns=0.1, low=0.8, high=1.25),
    int8=Rates(multiply_cycles=0.5, other_cycles=0.25, crowding_ns=0.01, low=0.5, high=2.0),
    fitted_gmacs=(0.1, 10.0),
)


def test_one_thread_takes_its_cycles_and_what_it_streams():
    # (8e6 x 0.5 + 4e6 x 0.25) / 2 GHz = 2.5 ms; 5 MB at 10 GB/s = 0.5 ms; alone, nobody crowds.
    work = Work("conv_3x3", "fp32", 8e6, 4e6, weight_bytes=5e6)
    assert milliseconds(work, BOARD, 1) == pytest.approx(3.0)


def test_four_threads_share_the_cycles_and_crowd_each_other():
    # 5e6 cycles / (2 + 2 + 1 + 1) GHz = 0.8333 ms; 4e6 others x 0.1 ns = 0.4 ms.
    work = Work("conv_3x3", "fp32", 8e6, 4e6)
    assert milliseconds(work, BOARD, 4) == pytest.approx(0.8333 + 0.4, abs=1e-4)
    # Two threads: 5e6 / 4 GHz = 1.25 ms, and a third of the crowding.
    assert milliseconds(work, BOARD, 2) == pytest.approx(1.25 + 0.4 / 3, abs=1e-4)


def test_int8_convolutions_wait_by_their_class():
    # 6e6 / 2 = 3e6 cycles; crowding 0.01 ns x (3, 2 or 1 x 6e6 + 0.5 x 2e6).
    spatial, grouped, pointwise = (
        waiting(Work(kind, "int8", 6e6, 2e6)) for kind in ("conv_3x3", "conv_grouped", "conv_1x1")
    )
    assert (spatial, grouped, pointwise) == (19e6, 13e6, 7e6)
    assert waiting(Work("conv_3x3", "fp32", 6e6, 2e6)) == 2e6


@pytest.mark.parametrize(
    ("work", "cores"),
    [
        (Work("conv_1x1", "fp32", 16383, 1e6), 1),  # 65,532 multiply-accumulates: one piece
        (Work("conv_1x1", "fp32", 16384, 1e6), 2),
        (Work("conv_1x1", "int8", 3 * 4096, 1e6), 4),
        (Work("conv_1x1", "int8", 1e6, 1e6), 4),
        (Work("elementwise", "fp32", 0, 1.9e5), 1),
        (Work("elementwise", "fp32", 0, 2.2e5), 2),
        (Work("elementwise", "fp32", 0, 4e6, nodes=40), 1),
        (Work("view", "fp32", 0, 800), 1),
    ],
)
def test_small_operators_stay_on_few_threads(work, cores):
    assert cores_at_work(work, 4) == cores


def test_the_interval_is_the_sum_of_each_precisions_band():
    profile = load_profile("raspberry-pi-5").model_copy(update={"latency": BOARD})
    fp32, int8 = Work("conv_1x1", "fp32", 8e6, 4e6), Work("conv_1x1", "int8", 8e6, 4e6)
    one, other = (milliseconds(work, BOARD, 4) for work in (fp32, int8))
    found = time_from_counts([fp32, int8], profile, widened=1.5, word="emulated")
    assert found.value == pytest.approx(one + other, abs=1e-4)
    assert found.low == pytest.approx((0.8 * one + 0.5 * other) / 1.5, abs=1e-4)
    assert found.high == pytest.approx((1.25 * one + 2.0 * other) * 1.5, abs=1e-4)
    assert (found.word, found.place, found.unit) == ("emulated", "raspberry-pi-5", "ms")


@settings(max_examples=60, deadline=None)
@given(
    profile=st.sampled_from(list_profiles()),
    kind=st.sampled_from(["conv_1x1", "conv_3x3", "conv_depthwise", "elementwise"]),
    precision=st.sampled_from(["fp32", "int8"]),
    multiply=st.floats(0, 1e9),
    other=st.floats(1e3, 1e9),
)
def test_more_work_takes_longer_and_four_threads_at_least_a_quarter(profile, kind, precision, multiply, other):
    work, more = (Work(kind, precision, multiply, other * factor) for factor in (1, 1.5))
    constants = profile.latency
    most = constants.threads
    assert milliseconds(more, constants, 1) > milliseconds(work, constants, 1)
    assert milliseconds(work, constants, most) >= milliseconds(work, constants, 1) / most
