"""How inputs are prepared, settled from options, the checkpoint, timm's configuration and the data."""

from collections.abc import Mapping
from typing import Any, Protocol

from edgekd.errors import BadInput, UsageError
from edgekd.image_options import image_preprocessing
from edgekd.preprocessing import Dtype, Preprocessing
from edgekd.sound_options import sound_preprocessing


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
    return image_preprocessing(
        options,
        {"the checkpoint": metadata, "timm's configuration": timm_config},
        data_size=facts.uniform_size if facts is not None else None,
        data_channels=facts.channels if facts is not None else None,
        input_shape=input_shape,
    )


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


def _refuse_options(options: Mapping[str, Any], what: str) -> None:
    idle = next((name for name, value in options.items() if value is not None), None)
    if idle:
        raise UsageError(f"--{idle.replace('_', '-')} has no meaning for {what}; leave it out")
