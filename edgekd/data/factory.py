"""Data from the user's own code, `file.py:make`. make() returns {"train": dataset, "val": ..., "test": ...}.

The key "unlabelled" is for further samples to train on.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from edgekd.data.classes import listed
from edgekd.data.source import (
    SPLIT_NAMES,
    UNLABELLED,
    UNREAD_LABELS,
    Labels,
    Part,
    Source,
    as_labels,
    as_ready,
    is_image,
    unlabelled_among,
)
from edgekd.errors import BadInput

Call = Callable[[Callable[[], Any]], Any]
FORM = (
    "a Pillow image, a uint8 array (height, width, channels), or an array or tensor of floats or integers as the model "
    "takes it"
)


def read_factory(source: str) -> Source:
    """Run the user's function. Its datasets have a length and items `x` or `(x, y)`.

    `x` is a Pillow image, a uint8 array (height, width[, channels]), or an array or tensor of floats or integers that
    already is a model input, of any shape; `y` is a class index, or a float or an array of floats to predict. Raises
    BadInput where the code fails or returns something else.
    """
    # Here and not above: the other readers need no torch, and this import brings it.
    from edgekd.formats.architecture import call_user_code, load_function

    function = load_function(source)

    def call(code: Callable[[], Any]) -> Any:
        return call_user_code(source, code)

    made = call(function)
    if not isinstance(made, Mapping) or "train" not in made:
        raise BadInput(f'{source} returned {_kind(made)}; it must return {{"train": dataset, "val": ..., "test": ...}}')
    known = (*SPLIT_NAMES, *UNLABELLED)
    unknown = [str(name) for name in made if name not in known]
    if unknown:
        raise BadInput(f"{source} returned splits {listed(unknown)}; known: {', '.join(known)}")
    parts = {name: _part(source, name, made[name], call) for name in SPLIT_NAMES if made.get(name) is not None}
    labelled = {name: _has_label(_item(source, name, made[name], 0, call)) for name in parts}
    if len(set(labelled.values())) > 1:
        lacking = next(name for name in parts if not labelled[name])
        raise BadInput(f"{source}: {lacking} has no labels but other splits do; label every split, or none")
    unlabelled, notes = _unlabelled(source, made, call)
    # The user's datasets were not asked to be safe for several threads.
    return Source(
        "factory",
        parts,
        labelled["train"],
        _classes(made["train"]),
        notes,
        thread_safe=False,
        unlabelled=unlabelled,
    )


def _unlabelled(source: str, made: Mapping[str, Any], call: Call) -> tuple[Part | None, tuple[str, ...]]:
    """The further samples, and a note where the first has a label: none is read, as -1 or the like stands for none."""
    name = unlabelled_among((name for name in made if made[name] is not None), source)
    if name is None:
        return None, ()
    part = replace(_part(source, name, made[name], call), labels=lambda: None)
    return part, (UNREAD_LABELS,) * _has_label(_item(source, name, made[name], 0, call))


def _part(source: str, split: str, dataset: Any, call: Call) -> Part:
    if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        raise BadInput(f"{source}: {split} is {_kind(dataset)}; it needs a length and items by index")
    count = int(call(lambda: len(dataset)))
    if count == 0:
        raise BadInput(f"{source}: {split} is empty; give samples or leave the split out")

    def fetch(at: int) -> Any:
        item = _item(source, split, dataset, at, call)
        return _input(item[0] if _is_pair(item) else item, f"{source}: {split}[{at}]")

    @cache
    def labels() -> Labels | None:
        items = (_item(source, split, dataset, at, call) for at in range(count))
        found = [item[1] if _has_label(item) else None for item in items]
        if not any(label is not None for label in found):
            return None
        lacking = next((at for at, label in enumerate(found) if label is None), None)
        if lacking is not None:
            raise BadInput(f"{source}: {split}[{lacking}] has no label but others have; label every sample, or none")
        return as_labels([_label(label) for label in found], f"{source}: {split}", count)

    return Part(count, fetch, lambda at: f"{split}[{at}]", labels)


def _item(source: str, split: str, dataset: Any, at: int, call: Call) -> Any:
    return call(lambda: dataset[at])


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple | list) and len(item) == 2


def _has_label(item: Any) -> bool:
    return _is_pair(item) and item[1] is not None


def _label(label: Any) -> Any:
    """A number out of a Python number, numpy scalar, or tensor of one element; else an array of numbers."""
    plain = label.detach().cpu() if hasattr(label, "detach") else label
    return plain.item() if hasattr(plain, "item") and getattr(plain, "ndim", 0) == 0 else np.asarray(plain)


def _input(value: Any, where: str) -> Any:
    """Pillow image or uint8 (height, width, channels) for an image; float32 or int64 of any shape for other inputs."""
    if isinstance(value, Image.Image):
        return value
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if is_image(array.dtype, array.ndim):
        # Tensors made by torchvision hold 8-bit images channels first.
        channels_first = array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4)
        return array.transpose(1, 2, 0) if channels_first else array
    if array.dtype.kind in "iuf" and array.ndim:
        return as_ready(array)
    raise BadInput(f"{where} is {array.dtype} of shape {array.shape}; give {FORM}")


def _classes(dataset: Any) -> tuple[str, ...] | None:
    """Names as torchvision's datasets carry them."""
    names = getattr(dataset, "classes", None)
    if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None


def _kind(value: Any) -> str:
    keys = f" with {listed([str(key) for key in value])}" if isinstance(value, Mapping) else ""
    return f"a {type(value).__name__}{keys}"
