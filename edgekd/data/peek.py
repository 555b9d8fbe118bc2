"""A first look at a data set, before the model's input size is settled."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgekd.data.classes import listed
from edgekd.data.image import DECODE_ERRORS, GREY_MODES
from edgekd.data.readers import LabelKind, label_form, largest_label, open_source
from edgekd.data.reading import Reading
from edgekd.data.source import Kind, Source
from edgekd.data.wav import Header
from edgekd.errors import BadInput
from edgekd.preprocessing import Dtype
from edgekd.record import Record

SAMPLE = {
    **{"image folder": 200, "wav folder": 1000, "coco": 200, "shards": 200, "factory": 32},
    **{"npz": 1, "npy": 1, "table": 1},
}
"""How many samples, spread over each split, tell the size; all of one .npz array or table have the same."""
USUAL_SHARE = 95
"""Percent of sounds that are no longer than the usual length: a few long ones would make all the others padding."""


class DataFacts(Record):
    """What a data set says about itself. `uniform_size` is (height, width) where all sampled images share it."""

    kind: Kind
    count: int
    uniform_size: tuple[int, int] | None
    channels: int | None
    """Of images; None for other inputs."""
    input_shape: tuple[int, ...] | None
    """Of one ready-made model input, which nothing is done to; None for images and sounds."""
    sample_rate: int | None = None
    """Of sounds, in Hz: the one that most of them have."""
    seconds: float | None = None
    """Of sounds: the length that 95 % of them do not exceed."""
    dtype: Dtype
    """Of the model's input: int64 where ready-made inputs are whole numbers."""
    labelled: bool
    labels: LabelKind | None
    label_shape: tuple[int, ...] | None
    """Of one sample's label; () for a class or a single number, (objects, classes + 4) for boxes."""
    classes: tuple[str, ...] | None
    largest_label: int | None
    columns: tuple[str, ...] = ()
    """Of a table of numbers, in the order of the input."""


def peek(
    source: str,
    *,
    classes_file: Path | None = None,
    task: str | None = None,
    reading: Reading | None = None,
    trust_code: bool = True,
) -> DataFacts:
    """Look at a data set's labels and a sample of its inputs.

    Args:
        source: folder, .npz file, table, or file.py:make (whose code is run).
        classes_file: class names in the order of the model's outputs, one a line.
        task: what labels mean, as `open_source` takes it.
        reading: how a table is read.
        trust_code: False refuses file.py:make.

    Raises:
        BadInput: the data are missing, empty or inconsistent.
    """
    found = open_source(source, classes_file=classes_file, task=task, reading=reading, trust_code=trust_code)
    images, sounds, ready = _sample(found)
    if not images and not sounds and not ready:
        first = next(iter(found.parts.values()))
        count = sum(part.count for part in found.parts.values())
        what, give = ("WAV files", "WAV") if found.kind == "wav folder" else ("images", "PNG, JPEG or other image")
        raise BadInput(
            f"{source}: none of the {count} {what} decodes, as far as looked at, the first being {first.name(0)}; "
            f"give {give} files"
        )
    if images and ready:
        raise BadInput(f"{source} mixes 8-bit images and inputs of other types; give one of them")
    if len({array.shape for array in ready}) > 1:
        shapes = listed([str(shape) for shape in sorted({array.shape for array in ready})])
        raise BadInput(f"{source} gives inputs of different shapes ({shapes}); pad or cut them to one")
    sizes = {(height, width) for height, width, _ in images}
    whole = bool(ready) and all(array.dtype == np.int64 for array in ready)
    kind = label_form(found)
    return DataFacts(
        kind=found.kind,
        count=sum(part.count for part in found.parts.values()),
        uniform_size=sizes.pop() if len(sizes) == 1 else None,
        channels=max((channels for _, _, channels in images), default=None),
        input_shape=ready[0].shape if ready else None,
        sample_rate=Counter(sound.rate for sound in sounds).most_common(1)[0][0] if sounds else None,
        seconds=_usual_seconds(sounds),
        dtype="int64" if whole else "float32",
        labelled=found.labelled,
        labels=kind[0] if kind else None,
        label_shape=kind[1] if kind else None,
        classes=found.classes,
        largest_label=largest_label(found),
        columns=found.columns,
    )


def _usual_seconds(sounds: list[Header]) -> float | None:
    if not sounds:
        return None
    return float(np.percentile([sound.seconds for sound in sounds], USUAL_SHARE, method="higher"))


def _sample(source: Source) -> tuple[list[tuple[int, int, int]], list[Header], list[npt.NDArray[Any]]]:
    """(height, width, channels) of images, headers of sounds, and ready-made inputs, spread over every split; broken
    ones are left out."""
    images: list[tuple[int, int, int]] = []
    sounds: list[Header] = []
    ready: list[npt.NDArray[Any]] = []
    for part in source.parts.values():
        for at in np.unique(np.linspace(0, part.count - 1, SAMPLE[source.kind]).astype(int)).tolist():
            try:
                value = part.look(at) if part.look else part.fetch(at)
                if isinstance(value, Header):
                    sounds.append(value)
                    continue
                if isinstance(value, tuple):
                    images.append(value)
                    continue
                if isinstance(value, Image.Image):
                    images.append((value.height, value.width, 1 if value.mode in GREY_MODES else 3))
                elif value.dtype == np.uint8:
                    images.append((*value.shape, 1)[:3])
                else:
                    ready.append(value)
            except DECODE_ERRORS:
                continue
    return images, sounds, ready
