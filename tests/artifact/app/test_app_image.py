"""Images in the app graph against Pillow and numpy."""

import resource

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.artifact.app.fed import images_as_fed
from edgekd.data.image import Fit, fit_image
from edgekd.preprocessing import Preprocessing, normalise

HEIGHT, WIDTH = 16, 11
BY_PRODUCTS, BY_OPERATOR = 13, 18
SIZES = [
    (16, 11),
    (1, 1),
    (1, 90),
    (90, 1),
    (3, 40),
    (17, 12),
    (33, 22),
    (45, 61),
    (12, 8),
    (300, 7),
    (7, 300),
    (64, 64),
]


def settings_of(channels: int = 3, **fields: object) -> Preprocessing:
    mean, std = ((0.48, 0.4, 0.3), (0.22, 0.3, 0.1)) if channels == 3 else ((0.45,), (0.2,))
    return Preprocessing(height=HEIGHT, width=WIDTH, channels=channels, mean=mean, std=std, **fields)


def expected(image: np.ndarray, how: Preprocessing) -> np.ndarray:
    fit = Fit(HEIGHT, WIDTH, how.channels or 0, how.resize, how.crop)
    return normalise(fit_image(image, fit)[None], how)[0]


def levels_off(said: np.ndarray, image: np.ndarray, how: Preprocessing) -> np.ndarray:
    """How many levels of 255 each pixel is off."""
    a_level = np.float64(1 / 255 if how.scale == "0..1" else 1) / np.asarray(how.std)
    return np.abs(said - expected(image, how)) / a_level[:, None, None]


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, channels), np.uint8)


VARIANTS = [
    {"resize": "bilinear"},
    {"resize": "bicubic", "order": "bgr"},
    {"resize": "bilinear", "crop": 0.875, "scale": "0..255"},
    {"resize": "bicubic", "crop": 0.7},
    {"resize": "bilinear", "channels": 1},
    {"resize": "bicubic", "channels": 1, "crop": 0.9},
]


@pytest.mark.parametrize("fields", VARIANTS)
def test_products_are_pillows_bit_for_bit(open_app, fields) -> None:
    how = settings_of(**fields)
    run = open_app(how, opset=BY_PRODUCTS)
    for size in SIZES:
        image = noise(*size, how.channels or 0)
        np.testing.assert_array_equal(run(image=image)[0], expected(image, how), err_msg=f"{size}")


@pytest.mark.parametrize("fields", VARIANTS)
def test_the_operator_is_a_level_off_at_most_and_seldom(open_app, fields) -> None:
    how = settings_of(**fields)
    run = open_app(how, opset=BY_OPERATOR)
    off = [levels_off(run(image=image)[0], image, how) for image in (noise(*size, how.channels or 0) for size in SIZES)]
    assert max(one.max() for one in off) < 1.01
    assert np.mean([(one > 0.01).mean() for one in off]) < 0.02


@pytest.mark.parametrize("opset", [BY_PRODUCTS, BY_OPERATOR])
@pytest.mark.parametrize("crop", [None, 0.875])
def test_an_image_of_the_models_size_passes_bit_for_bit(open_app, opset, crop) -> None:
    how = settings_of(crop=crop)
    image = noise(HEIGHT, WIDTH)
    np.testing.assert_array_equal(open_app(how, opset=opset)(image=image)[0], normalise(image[None], how)[0])


def test_black_and_white_edges_do_not_run_over(open_app) -> None:
    """The cubic filter overshoots at edges; levels end at 0 and 255."""
    how = settings_of(resize="bicubic")
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, 20:] = 255
    for opset in (BY_PRODUCTS, BY_OPERATOR):
        assert levels_off(open_app(how, opset=opset)(image=image)[0], image, how).max() < 1.01


@pytest.mark.parametrize("size", [(4000, 1), (1, 4000)])
def test_a_strip_is_resized_in_another_order_than_pillows(open_app, size) -> None:
    """So rounding differs."""
    how = settings_of(crop=0.875)
    image = noise(*size)
    for opset in (BY_PRODUCTS, BY_OPERATOR):
        assert levels_off(open_app(how, opset=opset)(image=image)[0], image, how).max() < 2.01


@pytest.mark.parametrize("size", [(5000, 1), (1, 5000)])
def test_a_strip_takes_little_memory(open_app, size) -> None:
    """In Pillow's order it would be 1,280,000 x 224 pixels on the way, 860 MB."""
    how = Preprocessing(height=224, width=224, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3, scale="0..255", crop=0.875)
    run = open_app(how, opset=BY_OPERATOR)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = run(image=np.full((*size, 3), 77, np.uint8))[0]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    np.testing.assert_array_equal(said, np.full((3, 224, 224), 77, np.float32))


def test_what_the_model_is_fed_can_be_had_without_the_model(open_app, contract_for) -> None:
    how = settings_of(resize="bicubic", crop=0.8)
    images = [noise(*size) for size in SIZES]
    fed = images_as_fed(images, contract_for(how, "classification", {"logits": (10,)}))
    assert fed.shape == (len(SIZES), 3, HEIGHT, WIDTH)
    run = open_app(how, opset=BY_OPERATOR)
    np.testing.assert_array_equal(fed, [run(image=image)[0] for image in images])


@pytest.fixture(scope="module")
def apps(open_app):
    """One graph for each filter and crop, opened once."""
    variants = [("bilinear", None), ("bicubic", None), ("bilinear", 0.8), ("bicubic", 0.93)]
    found = {(resize, crop): settings_of(resize=resize, crop=crop) for resize, crop in variants}
    return [(how, open_app(how, opset=BY_PRODUCTS)) for how in found.values()]


@given(height=st.integers(1, 120), width=st.integers(1, 120), which=st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_any_size_is_pillows(apps, height, width, which) -> None:
    how, run = apps[which]
    image = noise(height, width)
    np.testing.assert_array_equal(run(image=image)[0], expected(image, how))
