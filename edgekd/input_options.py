"""How inputs are prepared, settled from options, the checkpoint, timm's configuration and the data."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from edgekd.errors import BadInput, UsageError
from edgekd.preprocessing import Dtype, Preprocessing
from edgekd.sound_options import sound_preprocessing

# Of ImageNet's training images, RGB in 0..1; source: torchvision's and timm's model configurations.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Facts(Protocol):
    """What a first look at the data must tell (`edgekd.data.peek.DataFacts` does).

    Of images the size, where all share it, and channels; of sounds the rate in Hz and the usual length; of ready-made
    inputs the shape of one, and the type.
    """

    @property
    def uniform_size(self) -> tuple[int, int] | None: ...
    @property
    def channels(self) -> int | None: ...
    @property
    def input_shape(self) -> tuple[int, ...] | None: ...
    @property
    def dtype(self) -> Dtype: ...
    @property
    def sample_rate(self) -> int | None: ...
    @property
    def seconds(self) -> float | None: ...


def resolve_preprocessing(
    options: Mapping[str, Any],
    *,
    metadata: Mapping[str, Any],
    timm_config: Mapping[str, Any],
    facts: Facts | None,
    input_shape: tuple[int | None, ...] | None,
    input_dtype: Dtype | None = None,
) -> Preprocessing:
    """Settle every setting: option, else checkpoint, else timm's configuration, else the data and the usual defaults.

    A fixed input shape in the model file settles an image's size by itself; ready-made inputs must have it. `origin`
    names the source of each field.

    Args:
        options: input_size "H,W", mean and std "a,b,c" (text or numbers), scale, channels ("rgb" or "bgr"), resize,
            crop; sample_rate and duration of sounds.
        metadata, timm_config: input_size (channels, height, width) or (height, width), mean, std, interpolation,
            crop_pct.
        facts: of the data, or None without data.
        input_shape: (batch, ...) of the model, None where free; or None where unknown.
        input_dtype: of the model, or None where unknown.

    Raises:
        UsageError: an option cannot be read or contradicts the model or the data, or the size is nowhere to be found.
        BadInput: metadata in the checkpoint make no sense, or data and model differ in shape or type.
    """
    sound = {name: options[name] for name in ("sample_rate", "duration") if name in options}
    options = {name: value for name, value in options.items() if name not in sound}
    if (facts is not None and facts.sample_rate is not None) or (facts is None and len(sound) == 2):
        _refuse_options(options, "sounds")
        rate, seconds = (facts.sample_rate, facts.seconds) if facts is not None else (None, None)
        return sound_preprocessing(sound, data_rate=rate, usual_seconds=seconds, input_shape=input_shape)
    if facts is not None and facts.input_shape is not None:
        _refuse_options({**options, "duration": sound.get("duration")}, "data that already are model inputs")
        ready = _ready_from_data(facts.input_shape, facts.dtype, input_shape, input_dtype)
        if "sample_rate" in sound and len([side for side in ready.shape if side != 1]) > 1:
            raise UsageError(f"--sample-rate is for waveforms, and the inputs are {'x'.join(map(str, ready.shape))}")
        return ready if "sample_rate" not in sound else ready.model_copy(update=sound)
    _refuse_options(sound, "data that are no sounds")
    takes_images = (input_shape is None or len(input_shape) == 4) and input_dtype != "int64"
    if facts is None and not takes_images:
        _refuse_options(options, "a model that takes no images")
        return _ready_from_model(input_shape, input_dtype)
    if not takes_images:
        raise BadInput(
            f"the data are images, but the model takes {_written(input_shape, input_dtype)}; give its inputs as "
            "arrays, in a .npz file or by file.py:make"
        )
    return _for_images(options, {"the checkpoint": metadata, "timm's configuration": timm_config}, facts, input_shape)


def _ready_from_data(
    shape: tuple[int, ...], dtype: Dtype, wanted: tuple[int | None, ...] | None, wanted_dtype: Dtype | None
) -> Preprocessing:
    """Inputs as the data have them, held against what the model says it takes; whole numbers may become floats."""
    origin = {"input_shape": "the data", "dtype": "the data", "identity": "the data already are model inputs"}
    fits = wanted is None or (
        len(wanted) == len(shape) + 1
        and all(size is None or size == own for size, own in zip(wanted[1:], shape, strict=True))
    )
    if not fits or (dtype, wanted_dtype) == ("float32", "int64"):
        raise BadInput(
            f"the data's inputs are {_written((None, *shape), dtype)}, but the model takes "
            f"{_written(wanted, wanted_dtype)}; give the inputs that it was trained on"
        )
    if wanted_dtype == "float32" and dtype == "int64":
        dtype, origin["dtype"] = "float32", "the model's input"
    return Preprocessing(identity=True, input_shape=shape, dtype=dtype, origin=origin)


def _ready_from_model(shape: tuple[int | None, ...] | None, dtype: Dtype | None) -> Preprocessing:
    sizes = tuple(size for size in (shape or ())[1:] if size is not None)
    if shape is None or len(sizes) < len(shape) - 1:
        raise UsageError(
            f"the model takes {_written(shape, dtype)}, of which free sizes are known only from data; give --data"
        )
    origin = dict.fromkeys(("input_shape", "dtype", "identity"), "the model's input")
    return Preprocessing(identity=True, input_shape=sizes, dtype=dtype or "float32", origin=origin)


def _written(shape: tuple[int | None, ...] | None, dtype: Dtype | None) -> str:
    """Such as "float32 (batch, 3, any)"."""
    what = dtype or "inputs"
    if shape is None:
        return what
    return f"{what} ({', '.join(['batch', *('any' if size is None else str(size) for size in shape[1:])])})"


def _for_images(
    options: Mapping[str, Any],
    stored: Mapping[str, Mapping[str, Any]],
    facts: Facts | None,
    input_shape: tuple[int | None, ...] | None,
) -> Preprocessing:
    height, width, size_from = _size(options, stored, facts, input_shape)
    channels, channels_from = _channels(stored, facts, input_shape)
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
    facts: Facts | None,
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
    if facts is not None and facts.uniform_size:
        return *facts.uniform_size, "the data"
    reason = "the images differ in size" if facts is not None else "there are no images to tell it"
    raise UsageError(f"the model's input size is not known and {reason}; give --input-size H,W")


def _stored_size(value: Any, where: str) -> tuple[int | None, int, int]:
    """(channels or None, height, width) out of one side, (height, width) or (channels, height, width)."""
    sides = [value, value] if isinstance(value, int) else list(value) if isinstance(value, list | tuple) else []
    if len(sides) not in (2, 3) or not all(isinstance(side, int) and 1 <= side <= 65536 for side in sides):
        raise BadInput(f"input_size {_as_given(value)} in {where} is no image size; give --input-size H,W")
    return (sides[0] if len(sides) == 3 else None), sides[-2], sides[-1]


def _channels(
    stored: Mapping[str, Mapping[str, Any]], facts: Facts | None, input_shape: tuple[int | None, ...] | None
) -> tuple[int, str]:
    if input_shape is not None and input_shape[1] is not None:
        return input_shape[1], "the model's input"
    for where, settings in stored.items():
        size = settings.get("input_size")
        found = _stored_size(size, where)[0] if size is not None else None
        if found is not None:
            return found, where
    return (facts.channels, "the data") if facts is not None and facts.channels else (3, "default")


def _refuse_options(options: Mapping[str, Any], what: str) -> None:
    idle = next((name for name, value in options.items() if value is not None), None)
    if idle:
        raise UsageError(f"--{idle.replace('_', '-')} has no meaning for {what}; leave it out")


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
