"""How images become inputs of one size and normalisation, settled from options, the model and the data."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgekd.errors import BadInput, UsageError
from edgekd.preprocessing import Preprocessing

# Of ImageNet's training images, RGB in 0..1; source: torchvision's and timm's model configurations.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def image_preprocessing(
    options: Mapping[str, Any],
    stored: Mapping[str, Mapping[str, Any]],
    *,
    data_size: tuple[int, int] | None,
    data_channels: int | None,
    input_shape: tuple[int | None, ...] | None,
) -> Preprocessing:
    """Settle every setting: option, else the first of `stored`, else the data and the usual defaults.

    Args:
        options: as `resolve_preprocessing` takes them.
        stored: by what messages call it, what was stored with the model: input_size (channels, height, width) or
            (height, width), mean, std, interpolation, crop_pct.
        data_size: (height, width) of all images; None where they differ, or there are none.
        data_channels: of the images, or None without any.
        input_shape: (batch, channels, height, width) of the model, None where free; or None where unknown.

    Raises UsageError or BadInput as `resolve_preprocessing`.
    """
    height, width, size_from = _size(options, stored, data_size, data_channels, input_shape)
    channels, channels_from = _channels(stored, data_channels, input_shape)
    chosen: dict[str, Any] = {"height": height, "width": width, "channels": channels}
    origin = {"height": size_from, "width": size_from, "channels": channels_from}
    chosen["order"], origin["order"] = _choice(options.get("channels"), "--channels", ("rgb", "bgr"))
    chosen["scale"], origin["scale"] = _choice(options.get("scale"), "--scale", ("0..1", "0..255"))
    for name in ("mean", "std"):
        default = _default_normalisation(name, channels, chosen["scale"])
        chosen[name], origin[name] = _per_channel(name, options, stored, channels, default)
    chosen["resize"], origin["resize"] = _resize(options, stored)
    chosen["crop"], origin["crop"] = _crop(options, stored)
    return Preprocessing.model_validate({**chosen, "origin": origin})


def parse_input_size(text: str | Sequence[int]) -> tuple[int, int]:
    """Read "H,W" as (height, width) in pixels. Raises UsageError."""
    parts = text.split(",") if isinstance(text, str) else list(text)
    try:
        size = tuple(int(part) for part in parts)
    except (TypeError, ValueError):
        size = ()
    if len(size) != 2 or not all(1 <= side <= 65536 for side in size):
        raise UsageError(f"--input-size {_as_given(text)} is not height,width in pixels, such as 224,224")
    return size[0], size[1]


def parse_channel_values(option: str, value: str | Sequence[float]) -> tuple[float, ...]:
    """Read "a,b,c" as one number per channel; those of "--std" must be above 0. Raises UsageError."""
    parts = value.split(",") if isinstance(value, str) else list(value)
    try:
        numbers = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or not all(math.isfinite(number) for number in numbers):
        raise UsageError(f"{option} {_as_given(value)} is not one number per channel, such as 0.485,0.456,0.406")
    if option == "--std" and min(numbers) <= 0:
        raise UsageError(f"--std {_as_given(value)} must be above 0 in every channel")
    return numbers


def _as_given(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _size(
    options: Mapping[str, Any],
    stored: Mapping[str, Mapping[str, Any]],
    data_size: tuple[int, int] | None,
    data_channels: int | None,
    input_shape: tuple[int | None, ...] | None,
) -> tuple[int, int, str]:
    fixed = tuple(input_shape[2:4]) if input_shape is not None else (None, None)
    asked = parse_input_size(options["input_size"]) if options.get("input_size") is not None else None
    if asked is not None:
        if any(side is not None and side != want for side, want in zip(fixed, asked, strict=True)):
            shown = ",".join("any" if side is None else str(side) for side in fixed)
            raise UsageError(
                f"--input-size {asked[0]},{asked[1]} contradicts the model's input of {shown}; leave it out"
            )
        return *asked, "option"
    if fixed[0] is not None and fixed[1] is not None:
        return fixed[0], fixed[1], "the model's input"
    for where, settings in stored.items():
        if settings.get("input_size") is not None:
            _, height, width = _stored_size(settings["input_size"], where)
            return height, width, where
    if data_size is not None:
        return *data_size, "the data"
    reason = "the images differ in size" if data_channels is not None else "there are no images to tell it"
    raise UsageError(f"the model's input size is not known and {reason}; give --input-size H,W")


def _stored_size(value: Any, where: str) -> tuple[int | None, int, int]:
    """(channels or None, height, width) out of one side, (height, width) or (channels, height, width)."""
    sides = [value, value] if isinstance(value, int) else list(value) if isinstance(value, list | tuple) else []
    if len(sides) not in (2, 3) or not all(isinstance(side, int) and 1 <= side <= 65536 for side in sides):
        raise BadInput(f"input_size {_as_given(value)} in {where} is no image size; give --input-size H,W")
    return (sides[0] if len(sides) == 3 else None), sides[-2], sides[-1]


def _channels(
    stored: Mapping[str, Mapping[str, Any]], data_channels: int | None, input_shape: tuple[int | None, ...] | None
) -> tuple[int, str]:
    if input_shape is not None and input_shape[1] is not None:
        return input_shape[1], "the model's input"
    for where, settings in stored.items():
        size = settings.get("input_size")
        found = _stored_size(size, where)[0] if size is not None else None
        if found is not None:
            return found, where
    return (data_channels, "the data") if data_channels else (3, "default")


def _choice(value: Any, option: str, known: tuple[str, ...]) -> tuple[str, str]:
    if value is None:
        return known[0], "default"
    if value not in known:
        raise UsageError(f"{option} {_as_given(value)} is unknown; known: {', '.join(known)}")
    return value, "option"


def _default_normalisation(name: str, channels: int, scale: str) -> tuple[tuple[float, ...], str]:
    if scale == "0..255":
        return ((0.0,) if name == "mean" else (1.0,)) * channels, "default for 0..255"
    if channels == 3:
        return (IMAGENET_MEAN if name == "mean" else IMAGENET_STD), "default (ImageNet)"
    return (0.5,) * channels, f"default for {channels} channel{'s' if channels > 1 else ''}"


def _per_channel(
    name: str,
    options: Mapping[str, Any],
    stored: Mapping[str, Mapping[str, Any]],
    channels: int,
    default: tuple[tuple[float, ...], str],
) -> tuple[tuple[float, ...], str]:
    """The mean or std: as the option gives it, or the first stored one that has a value per channel."""
    if options.get(name) is not None:
        values = parse_channel_values(f"--{name}", options[name])
        if len(values) != channels:
            raise UsageError(
                f"--{name} has {len(values)} values but the model takes {channels} channels; give {channels}"
            )
        return values, "option"
    for where, settings in stored.items():
        if settings.get(name) is None:
            continue
        try:
            values = parse_channel_values(f"--{name}", settings[name])
        except UsageError as error:
            raise BadInput(f"{name} {_as_given(settings[name])} in {where} is unusable; give --{name}") from error
        if len(values) == channels:
            return values, where
        return default[0], f"{default[1]}, as {where} has {len(values)} channels"
    return default


def _resize(options: Mapping[str, Any], stored: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    known = ("bilinear", "bicubic")
    if options.get("resize") is not None:
        return _choice(options["resize"], "--resize", known)
    for where, settings in stored.items():
        wanted = settings.get("interpolation")
        if wanted in known:
            return str(wanted), where
        if wanted is not None:
            return "bilinear", f"default, as {where} asks for {_as_given(wanted)}, which is not offered"
    return "bilinear", "default"


def _crop(options: Mapping[str, Any], stored: Mapping[str, Mapping[str, Any]]) -> tuple[float | None, str]:
    candidates = [("option", options.get("crop"))]
    candidates += [(where, settings.get("crop_pct")) for where, settings in stored.items()]
    for where, value in candidates:
        if value is None:
            continue
        try:
            share = float(value)
        except (TypeError, ValueError):
            share = math.nan
        if not 0 < share <= 1:
            refuse = UsageError if where == "option" else BadInput
            raise refuse(f"crop {_as_given(value)} ({where}) is not a share above 0 and at most 1; give --crop")
        return share, where
    return None, "default (no crop)"
