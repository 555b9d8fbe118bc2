"""Sounds and other inputs in the app graph against the pipeline."""

import numpy as np
import pytest

from edgekd.data.wav import Sound, fit_sound
from edgekd.preprocessing import Preprocessing

RATE = 8000


@pytest.mark.parametrize("shape", [(100,), (1, 101)])
def test_sounds_are_cut_in_the_middle_and_padded_around(open_app, shape) -> None:
    run = open_app(Preprocessing(identity=True, input_shape=shape, sample_rate=RATE), opset=13)
    for frames in (0, 1, 2, 49, 99, 100, 101, 102, 103, 205, 1000):
        samples = np.random.default_rng(frames).standard_normal(frames).astype(np.float32)
        wanted = fit_sound(Sound(samples, RATE), rate=RATE, samples=shape[-1]).reshape(shape)
        np.testing.assert_array_equal(run(samples=samples)[0], wanted, err_msg=f"{frames} frames")


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_other_inputs_lose_their_batch_alone(open_app, dtype) -> None:
    run = open_app(Preprocessing(identity=True, input_shape=(3, 4), dtype=dtype), opset=13)
    numbers = np.arange(12).reshape(3, 4).astype(dtype)
    np.testing.assert_array_equal(run(input=numbers)[0], numbers.astype(np.float32))
