"""From what `--data` names to a `Source`: one table of readers, and the class order that they all share."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgekd.data.classes import listed, order_of, read_classes
from edgekd.data.factory import read_factory
from edgekd.data.image_folder import read_image_folder
from edgekd.data.npz import read_npz
from edgekd.data.source import Kind, Part, Source
from edgekd.errors import BadInput

FORMS = "a folder of class folders, a .npz file, or file.py:make"


def open_source(
    source: str, *, classes_file: Path | None = None, order: tuple[str, ...] | None = None, trust_code: bool = True
) -> Source:
    """Look at a data set and put its labels in the order of the model's outputs: of `classes_file`, else of `order`.

    Raises BadInput where it does not exist, has no known form, disagrees with `classes_file`, or would run code
    although `trust_code` is False.
    """
    kind = kind_of(source)
    if kind == "factory" and not trust_code:
        raise BadInput(f"{source} would run code; name it on the command line with --data, or give --trust")
    found = READERS[kind](source)
    wanted = read_classes(classes_file) if classes_file is not None else order
    if wanted is not None:
        mapping, notes = order_of(found.classes, wanted, str(classes_file or "of the model"))
        parts = {name: _mapped(part, mapping) for name, part in found.parts.items()}
        found = replace(found, classes=wanted, parts=parts, notes=(*found.notes, *notes))
    if found.classes is not None and len(set(found.classes)) < len(found.classes):
        raise BadInput(f"{source} names a class twice among {listed(found.classes)}; give every class its own name")
    return found


def kind_of(source: str) -> Kind:
    """Tell which reader a `--data` value needs. Raises BadInput where none does, or there is no such file."""
    head, colon, function = source.rpartition(":")
    if colon and head.endswith(".py") and function.isidentifier():
        return "factory"
    path = Path(source)
    if path.is_dir():
        return "image folder"
    if not path.exists():
        raise BadInput(f"data {source!r} does not exist; give {FORMS}")
    if path.suffix.lower() == ".npz":
        return "npz"
    raise BadInput(f"data {source!r} is of no known form; give {FORMS}")


def largest_label(source: Source) -> int | None:
    """The highest class index in any split, or None without labels. Raises BadInput where it has no class name."""
    if not source.labelled:
        return None
    largest = -1
    for name, part in source.parts.items():
        labels = part.labels()
        highest = int(labels.max()) if labels is not None and len(labels) else -1
        if source.classes is not None and highest >= len(source.classes):
            raise BadInput(
                f"{name} has label {highest} but there are {len(source.classes)} class names "
                f"({listed(source.classes)}); labels count from 0"
            )
        largest = max(largest, highest)
    return largest


def _mapped(part: Part, mapping: npt.NDArray[np.int64] | None) -> Part:
    """The part with its labels turned into indices of the wanted order."""

    def labels() -> npt.NDArray[np.int64] | None:
        own = part.labels()
        if own is None or mapping is None:
            return own
        if len(own) and int(own.max()) >= len(mapping):
            raise BadInput(f"label {int(own.max())} has no name: the data name {len(mapping)} classes, from 0 up")
        return np.asarray(mapping[own])

    return replace(part, labels=labels)


READERS: dict[Kind, Callable[[str], Source]] = {
    "image folder": read_image_folder,
    "npz": read_npz,
    "factory": read_factory,
}
