"""What model files say about their inputs and classes, taken over only where it has the form it should have."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

MAX_LABELS = 100_000


def checked_metadata(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return mean, std (tuples of floats), input_size (channels, height, width), interpolation, crop_pct, labels and
    licence.

    Values may be plain, or JSON texts as extra files and ONNX metadata hold them. What has another form is left out.
    """
    flat: dict[str, Any] = {}
    for key, value in found.items():
        name = str(key).rpartition("/")[2].removesuffix(".json").removesuffix(".txt")
        parsed = _parsed(value)
        if name not in ALIASES and isinstance(parsed, Mapping):
            flat |= {str(inner): _parsed(content) for inner, content in parsed.items() if str(inner) in ALIASES}
        flat[name] = parsed
    checked: dict[str, Any] = {}
    for name, (meaning, check) in ALIASES.items():
        value = check(flat[name]) if name in flat else None
        if value is not None:
            checked.setdefault(meaning, value)
    return checked


def _parsed(value: Any) -> Any:
    if not isinstance(value, str) or len(value) > 2**20:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _statistics(value: Any) -> tuple[float, ...] | None:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    good = 1 <= len(values) <= 16 and all(_is_number(item) for item in values)
    return tuple(float(item) for item in values) if good else None


def _deviations(value: Any) -> tuple[float, ...] | None:
    values = _statistics(value)
    return values if values and min(values) > 0 else None


def _size(value: Any) -> tuple[int, int, int] | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = (3, value, value)
    if not isinstance(value, (list, tuple)) or not all(type(side) is int and 0 < side <= 2**14 for side in value):
        return None
    if len(value) == 2:
        return (3, value[0], value[1])
    return (value[0], value[1], value[2]) if len(value) == 3 else None


def _interpolation(value: Any) -> str | None:
    return value if value in ("bilinear", "bicubic") else None


def _crop(value: Any) -> float | None:
    return float(value) if _is_number(value) and 0 < value <= 1 else None


def _labels(value: Any) -> tuple[str, ...] | None:
    """A list of names, lines of text, names by index {"0": "cat"}, or indices by name {"cat": 0}."""
    if isinstance(value, str):
        value = value.splitlines() if "\n" in value else value.split(",")
    if isinstance(value, Mapping):
        pairs = [(index, name) if isinstance(name, str) else (name, index) for index, name in value.items()]
        by_index = {str(index): name for index, name in pairs}
        value = [by_index.get(str(index)) for index in range(len(by_index))]
    good = isinstance(value, (list, tuple)) and 1 < len(value) <= MAX_LABELS
    if not good or not all(isinstance(name, str) and 0 < len(name) <= 500 for name in value):
        return None
    labels = tuple(name.strip() for name in value)
    return labels if len(set(labels)) == len(labels) else None


def _licence(value: Any) -> str | None:
    good = isinstance(value, str) and 0 < len(value) <= 100 and value.isprintable()
    return value if good else None


ALIASES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "mean": ("mean", _statistics),
    "std": ("std", _deviations),
    "input_size": ("input_size", _size),
    "image_size": ("input_size", _size),
    "img_size": ("input_size", _size),
    "interpolation": ("interpolation", _interpolation),
    "crop_pct": ("crop_pct", _crop),
    "classes": ("labels", _labels),
    "class_names": ("labels", _labels),
    "labels": ("labels", _labels),
    "names": ("labels", _labels),
    "class_to_idx": ("labels", _labels),
    "idx_to_class": ("labels", _labels),
    "license": ("licence", _licence),
    "licence": ("licence", _licence),
}
