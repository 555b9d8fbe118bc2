"""A first look at a data set, before the model's input size is settled."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgekd.data.image import DECODE_ERRORS, GREY_MODES
from edgekd.data.readers import largest_label, open_source
from edgekd.data.source import Kind, Source
from edgekd.errors import BadInput
from edgekd.record import Record

SAMPLE = {"image folder": 200, "npz": 1, "factory": 32}
"""How many images, spread over each split, tell the size; every image of one .npz array has the same."""


class DataFacts(Record):
    """What a data set says about itself. `uniform_size` is (height, width) where all sampled images share it."""

    kind: Kind
    count: int
    uniform_size: tuple[int, int] | None
    channels: int
    labelled: bool
    classes: tuple[str, ...] | None
    largest_label: int | None
    model_inputs: bool
    """True where items already are float model inputs (channels, height, width), which nothing is done to."""


def peek(source: str, *, classes_file: Path | None = None, trust_code: bool = True) -> DataFacts:
    """Look at a data set's labels and a sample of its images.

    Args:
        source: folder, .npz file, or file.py:make (whose code is run).
        classes_file: class names in the order of the model's outputs, one a line.
        trust_code: False refuses file.py:make.

    Raises:
        BadInput: the data are missing, empty or inconsistent.
    """
    found = open_source(source, classes_file=classes_file, trust_code=trust_code)
    seen = _sample(found)
    if not seen:
        first = next(iter(found.parts.values()))
        count = sum(part.count for part in found.parts.values())
        raise BadInput(
            f"{source}: none of the {count} images decodes, as far as looked at, the first being {first.name(0)}; "
            "give PNG, JPEG or other image files"
        )
    sizes = {(height, width) for height, width, _, _ in seen}
    inputs = {is_input for _, _, _, is_input in seen}
    if len(inputs) > 1:
        raise BadInput(f"{source} mixes 8-bit images and float model inputs; give one of them")
    return DataFacts(
        kind=found.kind,
        count=sum(part.count for part in found.parts.values()),
        uniform_size=sizes.pop() if len(sizes) == 1 else None,
        channels=max(channels for _, _, channels, _ in seen),
        labelled=found.labelled,
        classes=found.classes,
        largest_label=largest_label(found),
        model_inputs=inputs.pop(),
    )


def _sample(source: Source) -> list[tuple[int, int, int, bool]]:
    """(height, width, channels, is a model input) of images spread over every split; broken ones are left out."""
    seen = []
    for part in source.parts.values():
        for at in np.unique(np.linspace(0, part.count - 1, SAMPLE[source.kind]).astype(int)).tolist():
            try:
                seen.append((*part.look(at), False) if part.look else _measure(part.fetch(at)))
            except DECODE_ERRORS:
                continue
    return seen


def _measure(image: Any) -> tuple[int, int, int, bool]:
    if isinstance(image, Image.Image):
        return image.height, image.width, 1 if image.mode in GREY_MODES else 3, False
    if image.dtype == np.float32:
        channels, height, width = image.shape
        return height, width, channels, True
    height, width, channels = (*image.shape, 1)[:3]
    return height, width, channels, False
