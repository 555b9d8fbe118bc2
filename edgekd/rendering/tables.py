"""A table of plain cells, which Markdown and HTML only give a form."""

import re
from dataclasses import dataclass

from edgekd.figures import Number
from edgekd.units import KIBIBYTES, MILLISECONDS

Cell = str | Number | None

_FACTORS = {**MILLISECONDS, **KIBIBYTES, "k": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header; the first cell names its row. Foreign strings in cells are not escaped yet.

    `folded` says that a plot tells the same, or that few will want it, so that a page may show it on demand;
    `sortable` that its rows are of a kind.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str
    folded: bool = False
    sortable: bool = True


def sort_key(cell: Cell) -> str:
    """The number that a cell is sorted by, in one unit for all of its column; "" where it has none."""
    if isinstance(cell, Number):
        return repr(cell.value)
    found = re.match(r"([-+\u2212]?)([\d,]*\.?\d+)[ \u202f]?(\w*)", cell or "")
    if found is None:
        return ""
    sign, digits, unit = found.groups()
    value = float(digits.replace(",", "")) * _FACTORS.get(unit, 1.0)
    return repr(-value if sign in ("-", "\u2212") else value)
