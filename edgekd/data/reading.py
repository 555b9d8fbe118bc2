"""How a table is to be read: which columns mean what, and what turns its text into token ids."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Text = str | tuple[str, str]
"""One text, or a pair of them, first and second."""
Encode = Callable[[Text], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Reading:
    """None and () leave columns to be found by their usual names, and text without the tokenizer that it needs."""

    label_column: str | None = None
    text_column: tuple[str, ...] = ()
    """One, or the first and the second of a pair."""
    encode: Encode | None = None
    """One text, or one pair, to token ids int64 (length,)."""


@dataclass(frozen=True)
class Table:
    """One file as it came: `rows` takes the positions of columns, and yields these cells with the line they are on."""

    name: str
    unit: str
    """What rows are counted in: "line" of a text file, "row" of others."""
    columns: tuple[str, ...]
    rows: Callable[[tuple[int, ...]], Any]

    def at(self, number: int, column: str | None = None) -> str:
        """Where a cell is, for messages: "train.csv line 7, column 'age'"."""
        return f"{self.name} {self.unit} {number}" + (f", column {column[:60]!r}" if column is not None else "")
