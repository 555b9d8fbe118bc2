"""What the label column of a table means: whole numbers are classes, other numbers are numbers, words name classes."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekd.data.classes import listed
from edgekd.data.reading import Table
from edgekd.data.source import Labels, SplitName
from edgekd.errors import BadInput

LONGEST_CLASS = 200


@dataclass(frozen=True)
class Cells:
    """The label column of one split: its cells as they came, and the line of each."""

    table: Table
    values: list[Any]
    lines: "array[int]"


def label_cell(cell: Any, table: Table, line: int, column: str) -> Any:
    """The cell without blanks around it. Raises BadInput where it is empty, or neither a number nor a name."""
    value = cell.strip() if isinstance(cell, str) else cell
    if value is None or value == "":
        raise BadInput(f"{table.at(line, column)}: no label; label every sample, or leave the column out")
    if not isinstance(value, str | int | float):
        raise BadInput(f"{table.at(line, column)}: a {type(value).__name__}, not a label; give a number or a name")
    if isinstance(value, str) and len(value) > LONGEST_CLASS:
        raise BadInput(f"{table.at(line, column)}: a label of {len(value)} characters; name the label's column")
    return value


def interpret(splits: Mapping[SplitName, Cells]) -> tuple[dict[SplitName, Labels], tuple[str, ...] | None]:
    """Labels of every split, all of one meaning, and the classes' names (sorted) where words are the labels.

    Raises BadInput where a number is not finite, or a split has a class that train lacks.
    """
    values = [value for cells in splits.values() for value in cells.values]
    if all(_is_whole(value) for value in values):
        return {name: np.array([int(v) for v in cells.values], np.int64) for name, cells in splits.items()}, None
    if all(is_number(value) for value in values):
        return {name: _numbers(cells) for name, cells in splits.items()}, None
    classes = tuple(sorted({str(value) for value in splits["train"].values}))
    index = {name: at for at, name in enumerate(classes)}
    for cells in splits.values():
        unknown = sorted({str(value) for value in cells.values} - index.keys())
        if unknown:
            train = splits["train"].table.name
            raise BadInput(f"{cells.table.name} has classes that {train} lacks: {listed(unknown)}")
    return {name: np.array([index[str(v)] for v in cells.values], np.int64) for name, cells in splits.items()}, classes


def _numbers(cells: Cells) -> Labels:
    with np.errstate(over="ignore"):
        numbers = np.array([float(value) for value in cells.values]).astype(np.float32)
    broken = np.flatnonzero(~np.isfinite(numbers))
    if len(broken):
        at = cells.table.at(cells.lines[broken[0]])
        raise BadInput(
            f"{at}: the label {str(cells.values[broken[0]])[:40]!r} is not finite; mend or remove that sample"
        )
    return numbers


def _is_whole(value: Any) -> bool:
    try:
        return not isinstance(value, float) and abs(int(value)) < 2**63
    except ValueError:
        return False


def is_number(value: Any) -> bool:
    """Whether a cell is a number, or text that says one, infinite ones among them."""
    try:
        float(value)
    except (ValueError, OverflowError):
        return False
    return True
