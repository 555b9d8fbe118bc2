"""The arithmetic of parity by hand, and the line that separates rounding from another computation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.errors import BadInput
from edgekd.parity import check_every_output, check_parity, compare_outputs, cosine, sqnr_db, worst_sqnr_db


def test_signal_to_noise_by_hand() -> None:
    # signal 3^2 + 4^2 = 25, noise 0.3^2 + 0.4^2 = 0.25: a ratio of 100 is 20 dB
    assert sqnr_db(np.array([3.0, 4.0]), np.array([3.3, 3.6])) == pytest.approx(20.0)


def test_the_worst_output_counts_and_not_the_largest() -> None:
    # 20 dB as above, beside pixels at 60 dB that would hide it
    said = [np.array([3.3, 3.6]), np.array([1001.0])]
    assert worst_sqnr_db([np.array([3.0, 4.0]), np.array([1000.0])], said) == pytest.approx(20.0)


def test_signal_to_noise_at_its_ends() -> None:
    zeros, ones = np.zeros(3), np.ones(3)
    assert sqnr_db(ones, ones) == 200.0
    assert sqnr_db(zeros, zeros) == 200.0
    assert sqnr_db(zeros, ones) == -200.0
    assert sqnr_db(ones, np.array([1.0, 1.0, np.nan])) == -200.0
    assert sqnr_db(ones, np.array([1.0, 1.0, np.inf])) == -200.0


def test_large_float32_values_do_not_overflow_the_sums() -> None:
    large = np.full(4, 1e30, np.float32)
    assert sqnr_db(large, large * np.float32(1.1)) == pytest.approx(20.0, abs=0.01)


@given(st.floats(0.01, 100.0))
def test_signal_to_noise_does_not_depend_on_the_unit(scale: float) -> None:
    reference, actual = np.array([1.0, -2.0, 0.5]), np.array([1.1, -1.9, 0.4])
    assert sqnr_db(reference * scale, actual * scale) == pytest.approx(sqnr_db(reference, actual))


def test_comparison_by_hand() -> None:
    found = compare_outputs(np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]]), "logits")
    assert (found.output, found.max_abs) == ("logits", 1.0)
    assert found.cosine == pytest.approx(1 / math.sqrt(2))
    assert found.sqnr_db == pytest.approx(0.0)


def test_cosine_of_zero_arrays() -> None:
    assert cosine(np.zeros(2), np.zeros(2)) == 1.0
    assert cosine(np.zeros(2), np.ones(2)) == 0.0


def test_rounding_passes() -> None:
    reference = np.random.default_rng(0).standard_normal((8, 10)).astype(np.float32)
    assert check_parity(reference, reference * np.float32(1 + 1e-6), name="logits", where="m.onnx").sqnr_db > 100


@pytest.mark.parametrize(
    ("change", "because"),
    [
        # one value of 1,000 off by 0.002: 1e-3 is exceeded although the noise is far below -60 dB of the signal
        (lambda r: r + 2e-3 * (np.arange(r.size) == 0), "by up to 0.002 "),
        # all values off by 0.0009: within 1e-3, but 20 log10(1 / 0.0009) = 60.9, and of half the signal 54.9 dB
        (lambda r: r + 0.0009, "at 54.9 dB"),
    ],
)
def test_either_line_refuses_and_both_numbers_are_said(change, because: str) -> None:  # type: ignore[no-untyped-def]
    reference = np.full(1000, 0.5)
    with pytest.raises(BadInput, match=r"m\.onnx: output 'logits'") as refused:
        check_parity(reference, change(reference), name="logits", where="m.onnx")
    assert because in str(refused.value)
    assert "dB (needed 60 dB)" in str(refused.value) and "(allowed 0.001)" in str(refused.value)


def test_tolerance_grows_with_the_largest_value() -> None:
    reference = np.full(100, 1000.0)
    check_parity(reference, reference + 0.5, name="logits", where="m.onnx")


def test_an_output_that_is_all_but_zero_is_not_judged_by_ratio() -> None:
    check_parity(np.zeros(4), np.full(4, 1e-9), name="mask", where="m.onnx")


def test_shapes_that_would_broadcast_are_refused() -> None:
    with pytest.raises(BadInput, match="shape"):
        check_parity(np.zeros((2, 1)), np.zeros((2, 3)), name="logits", where="m.onnx")


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_poisoned_output_is_refused_even_where_both_agree(poison: float) -> None:
    array = np.array([1.0, poison])
    with pytest.raises(BadInput, match="not finite"):
        check_parity(array, array, name="logits", where="m.onnx")


def test_every_output_counts() -> None:
    good, bad = np.ones(3), np.array([1.0, 1.0, 2.0])
    assert len(check_every_output([good, good], [good, good], names=["logits", "output_1"], where="m.onnx")) == 2
    with pytest.raises(BadInput, match="output_1"):
        check_every_output([good, good], [good, bad], names=["logits", "output_1"], where="m.onnx")
    with pytest.raises(BadInput, match="1 outputs where the model has 2"):
        check_every_output([good, good], [good], names=["logits", "output_1"], where="m.onnx")
