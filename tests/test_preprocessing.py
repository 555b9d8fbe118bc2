"""Normalisation against torchvision, and every setting from the right place with its origin."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import transforms

from edgekd.errors import BadInput, UsageError
from edgekd.image_options import IMAGENET_MEAN, IMAGENET_STD, parse_channel_values, parse_input_size
from edgekd.input_options import resolve_preprocessing
from edgekd.preprocessing import Preprocessing, normalise, sample_inputs

TIMM = {
    "input_size": (3, 224, 224),
    "mean": (0.5, 0.4, 0.3),
    "std": (0.2, 0.2, 0.1),
    "interpolation": "bicubic",
    "crop_pct": 0.9,
}


@dataclass
class Facts:
    uniform_size: tuple[int, int] | None = (32, 48)
    channels: int | None = 3
    input_shape: tuple[int, ...] | None = None
    dtype: str = "float32"
    sample_rate: int | None = None
    seconds: float | None = None


def settle(options: dict[str, Any] | None = None, **given: Any) -> Preprocessing:
    defaults: dict[str, Any] = {"metadata": {}, "timm_config": {}, "facts": Facts(), "input_shape": None}
    return resolve_preprocessing(options or {}, **{**defaults, **given})


def test_normalise_equals_torchvision() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)
    how = Preprocessing(height=5, width=7, channels=3, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    theirs = transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
    ours = normalise(images, how)
    assert ours.dtype == np.float32 and ours.flags.c_contiguous
    assert ours == pytest.approx(theirs.numpy(), abs=1e-6)


def test_normalise_bgr_and_full_range_by_hand() -> None:
    image = np.array([[[[10, 20, 30]]]], np.uint8)
    how = Preprocessing(height=1, width=1, channels=3, order="bgr", scale="0..255", mean=(30, 10, 0), std=(2, 5, 1))
    assert normalise(image, how).ravel().tolist() == [0.0, 2.0, 10.0]


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_model_inputs_pass_unchanged(dtype: Any) -> None:
    inputs = np.random.default_rng(0).integers(0, 9, (2, 5, 4)).astype(dtype)
    how = Preprocessing(identity=True, input_shape=(5, 4), dtype=dtype)
    assert normalise(inputs, how) is inputs
    assert how.zeros(3).shape == sample_inputs(3, how.shape, how.dtype).shape == (3, 5, 4)
    assert how.zeros(1).dtype == sample_inputs(1, how.shape, how.dtype).dtype == dtype


def test_made_up_indices_are_in_every_table() -> None:
    assert set(sample_inputs(50, (20,), "int64").ravel().tolist()) == {0, 1}


def test_the_artifact_says_nothing_of_images_where_there_are_none() -> None:
    how = Preprocessing(identity=True, input_shape=(20,), dtype="int64", origin={"dtype": "the data"})
    assert json.loads(how.as_json()) == {
        "identity": True,
        "input_shape": [20],
        "dtype": "int64",
        "origin": {"dtype": "the data"},
    }
    image = Preprocessing(height=5, width=7, channels=3, mean=(0, 0, 0), std=(1, 1, 1))
    assert {"height", "width", "channels", "order", "mean", "std", "dtype"} <= json.loads(image.as_json()).keys()
    assert "input_shape" not in json.loads(image.as_json())


def test_defaults_come_from_the_data_and_imagenet() -> None:
    how = settle()
    assert (how.height, how.width, how.mean, how.std) == (32, 48, IMAGENET_MEAN, IMAGENET_STD)
    assert (how.crop, how.resize, how.order, how.scale) == (None, "bilinear", "rgb", "0..1")
    assert how.origin["height"] == how.origin["channels"] == "the data" and how.origin["mean"] == "default (ImageNet)"
    assert set(how.origin) == set(Preprocessing.model_fields) - {
        *("identity", "input_shape", "dtype", "sample_rate", "tokens", "columns", "origin")
    }


def test_grey_and_full_range_defaults() -> None:
    assert settle(facts=Facts(channels=1)).mean == settle(facts=Facts(channels=1)).std == (0.5,)
    raw = settle({"scale": "0..255"})
    assert raw.mean == (0, 0, 0) and raw.std == (1, 1, 1) and raw.origin["mean"] == "default for 0..255"


def test_precedence_of_every_setting() -> None:
    by_timm = settle(timm_config=TIMM)
    assert (by_timm.height, by_timm.mean, by_timm.std, by_timm.resize, by_timm.crop) == (
        224,
        (0.5, 0.4, 0.3),
        (0.2, 0.2, 0.1),
        "bicubic",
        0.9,
    )
    stored = {"input_size": [3, 64, 96], "mean": [0.1, 0.1, 0.1], "interpolation": "bilinear", "crop_pct": 1.0}
    by_checkpoint = settle(timm_config=TIMM, metadata=stored)
    assert (by_checkpoint.height, by_checkpoint.width, by_checkpoint.crop) == (64, 96, 1.0)
    assert by_checkpoint.mean == (0.1, 0.1, 0.1) and by_checkpoint.std == (0.2, 0.2, 0.1)
    assert by_checkpoint.origin["mean"] == "the checkpoint" and by_checkpoint.origin["std"] == "timm's configuration"
    options = {
        "input_size": "40,50",
        "mean": "0,0,0",
        "std": "1,1,1",
        "resize": "bicubic",
        "crop": 0.5,
        "channels": "bgr",
    }
    by_option = settle(options, timm_config=TIMM, metadata=stored)
    assert (by_option.height, by_option.width, by_option.mean, by_option.crop) == (40, 50, (0, 0, 0), 0.5)
    assert by_option.order == "bgr" and by_option.resize == "bicubic"
    assert {by_option.origin[name] for name in ("height", "mean", "std", "order", "resize", "crop")} == {"option"}


def test_fixed_input_shape_settles_size_and_channels() -> None:
    how = settle(timm_config=TIMM, input_shape=(1, 1, 28, 30))
    assert how.shape == (1, 28, 30) and how.origin["height"] == "the model's input"
    assert how.mean == (0.5,) and "timm's configuration has 3 channels" in how.origin["mean"]
    assert settle({"input_size": "28,30"}, input_shape=(None, 3, 28, 30)).origin["width"] == "option"
    assert settle(input_shape=(None, 3, None, None)).origin["height"] == "the data"


def ready(shape: tuple[int, ...], dtype: str = "float32") -> Facts:
    return Facts(None, None, shape, dtype)


def test_ready_made_inputs_are_what_the_data_are() -> None:
    for shape in ((4,), (7, 96), (2, 4, 5), (1, 2, 3, 4)):
        how = settle(facts=ready(shape), timm_config={"mean": (1, 1, 1)})
        assert how.identity and how.shape == shape and how.dtype == "float32"
    with pytest.raises(UsageError, match="--mean has no meaning for data that already are"):
        settle({"mean": "0,0"}, facts=ready((2, 4, 5)))


def test_whole_numbers_become_floats_where_the_model_takes_floats() -> None:
    tokens = ready((20,), "int64")
    assert settle(facts=tokens).dtype == settle(facts=tokens, input_dtype="int64").dtype == "int64"
    how = settle(facts=tokens, input_shape=(None, 20), input_dtype="float32")
    assert how.dtype == "float32" and how.origin["dtype"] == "the model's input"


def test_without_data_the_model_says_what_it_takes() -> None:
    how = settle(facts=None, input_shape=(None, 20), input_dtype="int64")
    assert (how.identity, how.shape, how.dtype) == (True, (20,), "int64")
    with pytest.raises(UsageError, match=r"int64 \(batch, any\), of which free sizes are known only from data"):
        settle(facts=None, input_shape=(None, None), input_dtype="int64")


@pytest.mark.parametrize(
    ("facts", "shape", "dtype", "complaint"),
    [
        (ready((20,), "int64"), (None, 30), "int64", r"int64 \(batch, 20\), but the model takes int64 \(batch, 30\)"),
        (ready((20, 3)), (None, 20), "float32", r"float32 \(batch, 20, 3\), but the model"),
        (ready((20,)), (None, None), "int64", r"float32 \(batch, 20\), but the model takes int64 \(batch, any\)"),
        (Facts(), (None, 20), "int64", r"the data are images, but the model takes int64 \(batch, 20\)"),
        (Facts(), (None, 7, 96), "float32", "the data are images, but"),
    ],
)
def test_data_that_the_model_does_not_take(facts: Facts, shape: Any, dtype: Any, complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        settle(facts=facts, input_shape=shape, input_dtype=dtype)


def test_a_preprocessing_has_a_shape() -> None:
    with pytest.raises(ValueError, match="height, width and channels are needed"):
        Preprocessing(height=3, mean=(0,), std=(1,))


@pytest.mark.parametrize(
    ("options", "given", "complaint"),
    [
        ({"input_size": "32,32"}, {"input_shape": (1, 3, 64, 64)}, "contradicts the model's input of 64,64"),
        ({"input_size": "32"}, {}, "'32' is not height,width"),
        ({"input_size": "0,32"}, {}, "is not height,width"),
        ({"mean": "a,b,c"}, {}, "--mean 'a,b,c' is not one number per channel"),
        ({"mean": "0,nan,0"}, {}, "is not one number per channel"),
        ({"std": "1,0,1"}, {}, "--std '1,0,1' must be above 0"),
        ({"mean": "0.5"}, {}, "has 1 values but the model takes 3"),
        ({"scale": "0-1"}, {}, "--scale '0-1' is unknown; known: 0..1, 0..255"),
        ({"resize": "lanczos"}, {}, "known: bilinear, bicubic"),
        ({"channels": "rbg"}, {}, "--channels 'rbg' is unknown"),
        ({"crop": 1.5}, {}, "is not a share"),
        ({}, {"facts": Facts(None)}, "the images differ in size; give --input-size H,W"),
        ({}, {"facts": None}, "no images to tell it; give --input-size H,W"),
    ],
)
def test_wrong_usage_in_one_sentence(options: dict[str, Any], given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        settle(options, **given)


@pytest.mark.parametrize(
    "metadata", [{"mean": "bad"}, {"std": [1, 0, 1]}, {"input_size": [3, -1, 5]}, {"input_size": "x"}, {"crop_pct": 7}]
)
def test_senseless_metadata(metadata: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="the checkpoint"):
        settle(metadata=metadata)


def test_foreign_interpolation_is_said() -> None:
    how = settle(metadata={"interpolation": "lanczos"})
    assert how.resize == "bilinear" and "'lanczos', which is not offered" in how.origin["resize"]


def test_parsers() -> None:
    assert parse_input_size("96, 128") == (96, 128)
    assert parse_channel_values("--mean", "0.5,-1,2e-1") == (0.5, -1.0, 0.2)
