"""Poisoned calibration data are refused with the sentence that says what is wrong."""

from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import BadInput
from edgekd.schemes.calibration import CalibrationData, check_calibration
from edgekd.schemes.signal import check_signal


def images(count: int = 100) -> np.ndarray:
    return np.random.default_rng(0).random((count, 3, 4, 4), np.float32)


def test_good_data_pass_without_a_word() -> None:
    assert check_calibration(CalibrationData(images()), np.arange(100) % 10, classes=10, teacher_range=(0.0, 1.0)) == ()


@pytest.mark.parametrize(("poison", "word"), [(np.nan, "NaN"), (np.inf, "an infinite value"), (-np.inf, "an infinite")])
def test_a_single_poisoned_value_is_found_and_its_image_named(poison: float, word: str) -> None:
    data = images()
    data[77, 1, 2, 3] = poison
    with pytest.raises(BadInput, match=f"input 77 holds {word}"):
        check_calibration(CalibrationData(data))


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_constant_images_are_refused(value: float) -> None:
    with pytest.raises(BadInput, match="constant"):
        check_calibration(CalibrationData(np.full((70, 3, 4, 4), value, np.float32)))


def test_one_constant_image_among_others_is_fine() -> None:
    data = images()
    data[0] = 0.0
    assert check_calibration(CalibrationData(data)) == ()


@pytest.mark.parametrize("factor", [255.0, 1 / 255.0])
def test_scaling_left_out_or_done_twice_is_refused(factor: float) -> None:
    with pytest.raises(BadInput, match="a factor near 255"):
        check_calibration(CalibrationData(images() * np.float32(factor)), teacher_range=(0.0, 1.0))


def test_ranges_that_do_not_meet_are_refused_and_a_narrower_one_is_not() -> None:
    with pytest.raises(BadInput, match=r"lie in \[5"):
        check_calibration(CalibrationData(images() + 5), teacher_range=(0.0, 1.0))
    assert check_calibration(CalibrationData(images() * np.float32(0.5)), teacher_range=(0.0, 1.0)) == ()


def test_missing_classes_are_named_but_not_all() -> None:
    (warning,) = check_calibration(CalibrationData(images()), np.zeros(100, int), classes=8)
    assert "class 1, 2, 3, 4, 5 and 2 more:" in warning


def test_few_images_are_warned_of() -> None:
    (warning,) = check_calibration(CalibrationData(images(63)))
    assert "only 63" in warning
    assert check_calibration(CalibrationData(images(64))) == ()


@pytest.mark.parametrize(
    "data", [np.zeros((0, 3, 4, 4), np.float32), np.zeros(5, np.float32), np.zeros((5, 3, 4, 4), np.uint8)]
)
def test_what_are_no_model_inputs_is_refused(data: np.ndarray) -> None:
    with pytest.raises(BadInput, match="float32"):
        check_calibration(CalibrationData(data))


def test_labels_must_match() -> None:
    with pytest.raises(BadInput, match="9 calibration labels for 100 inputs"):
        check_calibration(CalibrationData(images()), np.zeros(9, int), classes=2)


def test_every_input_that_was_asked_for_calibrates() -> None:
    data = CalibrationData(np.arange(1500, dtype=np.float32).reshape(1500, 1, 1, 1))
    assert len(data) == 1500
    assert np.concatenate(list(data.batches(3))).ravel().tolist() == list(range(1500))


def test_token_ids_stay_whole_numbers() -> None:
    ids = np.arange(1200).reshape(100, 12)
    assert check_calibration(CalibrationData(ids)) == ()
    (batch,) = CalibrationData(ids).batches(100)
    assert batch.dtype == np.int64 and np.array_equal(batch, ids)
    with pytest.raises(BadInput, match="constant"):
        check_calibration(CalibrationData(np.ones_like(ids)))


def test_a_memory_map_is_read_in_batches(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", images(5))
    data = CalibrationData(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert [one.shape for one in data.batches(2)] == [(2, 3, 4, 4)] * 2
    np.testing.assert_array_equal(np.concatenate(list(data.batches())), images(5))


def test_the_floor_rejects_noise_with_a_reason() -> None:
    assert check_signal(10.0) is None and check_signal(40.0) is None
    assert "3.9 dB" in str(check_signal(3.9))
    assert check_signal(float("nan")) is not None and check_signal(-200.0) is not None
