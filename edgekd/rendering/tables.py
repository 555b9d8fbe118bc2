"""A table of plain cells, which Markdown and HTML only give a form."""

from dataclasses import dataclass

from edgekd.figures import Number

Cell = str | Number | None


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header; the first cell names its row. Foreign strings in cells are not escaped yet.

    `folded` says that a plot tells the same, or that few will want it, so that a page may show it on demand.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str
    folded: bool = False
