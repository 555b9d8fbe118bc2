"""Decoding and resizing: against torchvision's evaluation transforms, and by hand where modes must be converted."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from edgekd.data.image import DECODE_ERRORS, SUFFIXES, Fit, fit_image, look_at, open_image

RNG = np.random.default_rng(0)


def picture(height: int, width: int) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [(100, 80), (80, 100), (33, 33), (20, 200), (300, 257)])
@pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
def test_crop_equals_torchvision(size: tuple[int, int], resize: str) -> None:
    image = picture(*size)
    mode = transforms.InterpolationMode(resize)
    theirs = transforms.CenterCrop(56)(transforms.Resize(64, mode)(image))
    assert np.array_equal(fit_image(image, Fit(56, 56, 3, resize, 0.875)), np.asarray(theirs))


def test_straight_resize_equals_torchvision() -> None:
    image = picture(90, 70)
    assert np.array_equal(fit_image(image, Fit(24, 40, 3)), np.asarray(transforms.Resize((24, 40))(image)))


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 40), st.floats(0.3, 1))
@settings(max_examples=60, deadline=None)
def test_any_size_becomes_the_wanted_size(h: int, w: int, height: int, width: int, crop: float) -> None:
    grey = np.full((h, w, 1), 77, np.uint8)
    fitted = fit_image(grey, Fit(height, width, 1, "bilinear", crop))
    assert fitted.shape == (height, width, 1)
    assert (fitted == 77).all()  # cropping never reaches beyond the image, where Pillow would fill with black


def test_right_size_is_untouched_even_with_a_crop() -> None:
    image = picture(32, 48)
    assert np.array_equal(fit_image(image, Fit(32, 48, 3, "bicubic", 0.5)), np.asarray(image))


def test_exif_orientation_turns_the_image(tmp_path: Path) -> None:
    lying = np.zeros((4, 8, 3), np.uint8)
    lying[:, :2] = 255  # left edge white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: the left edge becomes the top
    Image.fromarray(lying).save(tmp_path / "a.png", exif=exif)
    upright = np.asarray(open_image(tmp_path / "a.png"))
    assert upright.shape == (8, 4, 3)
    assert (upright[:2] == 255).all() and (upright[2:] == 0).all()
    assert look_at(tmp_path / "a.png") == (8, 4, 3)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_suffix_that_is_read_opens(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"one{suffix}"
    Image.new("L", (5, 4), 100).save(path, format="JPEG" if suffix == ".jfif" else None)
    assert look_at(path)[:2] == (4, 5)
    assert abs(int(np.asarray(open_image(path).convert("L")).mean()) - 100) <= 2


def test_a_jpeg_of_several_pictures_gives_the_first(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (5, 4), colour) for colour in ("red", "blue"))
    first.save(tmp_path / "two.jpg", format="MPO", save_all=True, append_images=[second])
    assert np.asarray(open_image(tmp_path / "two.jpg"))[..., 0].mean() > 200


def test_sixteen_bits_keep_their_brightness(tmp_path: Path) -> None:
    deep = np.array([[0, 257, 25700, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert fit_image(open_image(tmp_path / "deep.png"), Fit(1, 4, 1))[0, :, 0].tolist() == [0, 1, 100, 255]
    assert look_at(tmp_path / "deep.png") == (1, 4, 1)


@pytest.mark.parametrize(
    ("mode", "colour", "rgb"),
    [
        ("L", 90, (90, 90, 90)),
        ("1", 1, (255, 255, 255)),
        ("RGBA", (10, 20, 30, 0), (10, 20, 30)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("LA", (40, 9), (40, 40, 40)),
    ],
)
def test_modes_become_rgb(mode: str, colour: object, rgb: tuple[int, int, int]) -> None:
    assert fit_image(Image.new(mode, (2, 2), colour), Fit(2, 2, 3))[0, 0].tolist() == list(rgb)


def test_palette_becomes_rgb_and_colour_becomes_grey() -> None:
    red = Image.new("RGB", (2, 2), (255, 0, 0))
    assert fit_image(red.quantize(4), Fit(2, 2, 3))[0, 0].tolist() == [255, 0, 0]
    assert fit_image(np.asarray(red), Fit(2, 2, 1))[0, 0, 0] == 76  # 0.299 x 255, ITU-R 601


def test_more_channels_are_resized_plane_by_plane() -> None:
    planes = RNG.integers(0, 256, (9, 9, 4), dtype=np.uint8)
    fitted = fit_image(planes, Fit(5, 5, 4))
    for at in range(4):
        assert np.array_equal(fitted[..., at], np.asarray(Image.fromarray(planes[..., at]).resize((5, 5), 2)))


def test_channels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="4 channels cannot become the model's 3"):
        fit_image(np.zeros((2, 2, 4), np.uint8), Fit(2, 2, 3))


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"not an image", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_broken_files_raise_what_is_counted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(DECODE_ERRORS):
        open_image(path)


def test_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(40, 40).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(Image.DecompressionBombError):
        open_image(tmp_path / "bomb.png")
