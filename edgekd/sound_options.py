"""How sounds become waveforms of one rate and length, settled from options, the model and the data."""

import re
from collections.abc import Mapping
from typing import Any

from edgekd.errors import BadInput, UsageError
from edgekd.preprocessing import Preprocessing
from edgekd.units import MILLISECONDS

LONGEST_DEFAULT = 10.0
"""Seconds. Longer inputs are given on the user's word only: compute and memory grow with them."""
MOST_SAMPLES = 1 << 24


def sound_preprocessing(
    options: Mapping[str, Any],
    *,
    data_rate: int | None,
    usual_seconds: float | None,
    input_shape: tuple[int | None, ...] | None,
) -> Preprocessing:
    """Settle sample rate and length: option, else the model's input, else the data's own.

    Args:
        options: sample_rate in Hz and duration such as "1s".
        data_rate, usual_seconds: of the data, None without any; the length is one that few sounds exceed.
        input_shape: (batch, samples) or (batch, 1, samples) of the model, None where free; or None where unknown.

    Raises:
        UsageError: an option cannot be read or contradicts the model, or the rate or length is nowhere to be found.
        BadInput: the model takes no waveforms.
    """
    if input_shape is not None and (len(input_shape) not in (2, 3) or input_shape[1:-1] not in ((), (1,), (None,))):
        shown = ", ".join("any" if size is None else str(size) for size in input_shape[1:])
        raise BadInput(
            f"the data are sounds, but the model takes (batch, {shown}), not waveforms (batch, samples); if it was "
            "trained on log-mel frames, give --front log_mel=BANDS"
        )
    rate = options.get("sample_rate") or data_rate
    if rate is None:
        raise UsageError("the sample rate is not known without data; give --sample-rate HZ")
    fixed = input_shape[-1] if input_shape is not None else None
    samples, source = _samples(options.get("duration"), rate, usual_seconds, fixed)
    if not 1 <= samples <= MOST_SAMPLES:
        raise UsageError(f"{samples} samples a sound are not 1 to {MOST_SAMPLES}; give another --duration")
    axis = (1,) if input_shape is not None and len(input_shape) == 3 else ()
    origin = {
        "sample_rate": "option" if options.get("sample_rate") else "the data",
        "input_shape": source,
        "identity": "sounds are decoded, mixed, resampled and cut before",
    }
    return Preprocessing(identity=True, input_shape=(*axis, samples), sample_rate=rate, origin=origin)


def parse_duration(text: str) -> float:
    """Return the seconds of "1s", "1.5s" or "500ms". Raises UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s)", text.strip())
    seconds = float(found[1]) * MILLISECONDS[found[2]] / 1000 if found else 0.0
    if not seconds:
        raise UsageError(f"--duration {text[:40]!r} is no length of a sound; write it like 1s or 500ms")
    return seconds


def _samples(duration: str | None, rate: int, usual: float | None, fixed: int | None) -> tuple[int, str]:
    """How many, and where that comes from."""
    asked = None if duration is None else round(parse_duration(duration) * rate)
    if asked is not None:
        if fixed not in (None, asked):
            raise UsageError(f"--duration {duration} is {asked} samples at {rate} Hz, but the model takes {fixed}")
        return asked, "option"
    if fixed is not None:
        return fixed, "the model's input"
    if usual is None:
        raise UsageError("the length of a sound is not known without data; give --duration, such as 1s")
    if usual > LONGEST_DEFAULT:
        return round(
            LONGEST_DEFAULT * rate
        ), f"the data, whose sounds last up to {usual:.1f} s, cut to {LONGEST_DEFAULT:g} s"
    return round(usual * rate), "the data: 95 % of the sounds are no longer"
