"""Class names: reading them, putting data in their order, and holding them against the model's outputs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgekd.errors import BadInput

MOST_NAMED = 5


def read_classes(path: Path) -> tuple[str, ...]:
    """Read class names, one a line, in the order of the model's outputs; blank lines at the end are ignored.

    Raises BadInput where the file is missing, empty, not UTF-8 text, or names a class twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"class names {str(path)!r} cannot be read: {error}") from error
    names = [line.strip() for line in lines]
    if not names:
        raise BadInput(f"class names {str(path)!r} is empty; write one class a line, in the order of the outputs")
    for number, name in enumerate(names, start=1):
        if not name:
            raise BadInput(f"class names {str(path)!r} line {number} is blank; write one class a line")
        if name in names[: number - 1]:
            raise BadInput(f"class names {str(path)!r} line {number} names {name!r} a second time")
    return tuple(names)


def order_of(
    own: Sequence[str] | None, wanted: tuple[str, ...], where: str
) -> tuple[npt.NDArray[np.int64] | None, tuple[str, ...]]:
    """Say how the data's label indices become indices of `wanted`: int64 (len(own),), and notes for the report.

    Without names of its own (`own` is None) the data's indices are taken to be in the wanted order already.
    Raises BadInput where the data have a class that `wanted` lacks.
    """
    if own is None:
        return None, ()
    index = {name: at for at, name in enumerate(wanted)}
    unknown = [name for name in own if name not in index]
    unused = [name for name in wanted if name not in set(own)]
    if unknown:
        lacking = f"; it names {listed(unused)}, which the data lack" if unused else ""
        raise BadInput(
            f"class names {where!r} lacks {listed(unknown)} found in the data{lacking}; "
            "name every class once, in the order of the model's outputs"
        )
    notes = (f"no images of {len(unused)} of the {len(wanted)} named classes: {listed(unused)}",) if unused else ()
    return np.array([index[name] for name in own], dtype=np.int64), notes


def agreed_order(
    own: tuple[str, ...] | None, stored: tuple[str, ...] | None, outputs: int
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Say in which order labels must be for a model that stores class names: those names, or None for the data's order.

    Args:
        own: the names in the data's order, where the data have names.
        stored: the names in the model file, one for each output in order, where it has any.
        outputs: how many outputs the model has; names in another number belong to another model and do not count.

    Returns:
        The order, and notes for the report.

    Raises:
        BadInput: model and data name different classes.
    """
    if stored is None:
        return None, ()
    if len(stored) != outputs:
        note = f"the {len(stored)} class names in the model file were not used, because it has {outputs} outputs"
        return None, (note,)
    if own is None or own == stored:
        return stored, ()
    unknown = [name for name in own if name not in stored]
    unused = [name for name in stored if name not in own]
    if unknown or unused:
        sides = (("model", unused), ("data", unknown))
        differing = " and ".join(f"{listed(names)} only in the {side}" for side, names in sides if names)
        raise BadInput(
            f"the class names in the model file are not those of the data: {differing}; give --classes FILE with the "
            "data's names, one a line, in the order of the model's outputs"
        )
    return stored, (f"labels follow the class names in the model file, which begin with {listed(stored[:3])}",)


def check_classes(
    classes: tuple[str, ...] | None, outputs: int, *, largest_label: int | None = None
) -> tuple[str, ...]:
    """Return one name per model output: the data's, or "0", "1", ... where the data have no names.

    Raises BadInput where names and outputs differ in number, or a label lies beyond the last output.
    """
    if classes is not None and len(classes) != outputs:
        raise BadInput(
            f"the model has {outputs} outputs but the data have {len(classes)} classes ({listed(classes)}); "
            "give --classes FILE with one name per output, or the data this model was trained on"
        )
    if largest_label is not None and largest_label >= outputs:
        raise BadInput(
            f"the data have label {largest_label} but the model has {outputs} outputs, whose last index is "
            f"{outputs - 1}; labels count from 0, in the order of the model's outputs"
        )
    return classes if classes is not None else tuple(str(index) for index in range(outputs))


def listed(names: Sequence[str]) -> str:
    """The first few names, quoted and shortened, and how many more there are."""
    shown = ", ".join(repr(name if len(name) <= 60 else name[:57] + "...") for name in names[:MOST_NAMED])
    return shown if len(names) <= MOST_NAMED else f"{shown} and {len(names) - MOST_NAMED} more"
