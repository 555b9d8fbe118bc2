"""CSV and TSV files as tables of text cells; lines and cells have a largest length, so memory is bounded by the file.

A CSV file follows RFC 4180, with semicolons where its first line has no comma. A TSV file quotes nothing, as its media
type (text/tab-separated-values) has it: a quotation mark there is part of the text.
"""

import csv
import itertools
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, TextIO

from edgekd.data.reading import Table
from edgekd.data.table_labels import is_number
from edgekd.errors import BadInput

MAX_LINE = 4 * 2**20
"""Characters; a cell may have as many as Python's csv module takes, 131,072."""
HEAD = 1000
"""Rows that tell whether the first one is a header."""

Row = tuple[int, list[str]]


def read_delimited(path: Path, known: Collection[str]) -> Table:
    """Look at the head of a .csv or .tsv file; its rows are read when they are asked for.

    The first line is the header where one of its cells is in `known` (lower case), or where nothing says otherwise.
    Without one, a TSV file of two columns is text and label. Raises BadInput where the file is empty, is not UTF-8
    text, has no header where it needs one, or a row has more or fewer cells than the first.
    """
    head = list(itertools.islice(_rows(path), HEAD))
    if not head:
        raise BadInput(f"{str(path)!r} is empty; write a header line and one sample a line")
    columns = _header(path, head, known)
    skipped = head[0][0] if columns is not None else 0

    def rows(wanted: tuple[int, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
        return ((line, tuple(cells[at] for at in wanted)) for line, cells in _rows(path) if line > skipped)

    return Table(path.name, "line", columns or ("text", "label"), rows)


def _header(path: Path, head: list[Row], known: Collection[str]) -> tuple[str, ...] | None:
    """The names in the first line, or None where it already is a text with its label."""
    first = [cell.strip() for cell in head[0][1]]
    if any(cell.casefold() in known for cell in first):
        return tuple(first)
    labels = [cells[-1].strip() for _, cells in head]
    if path.suffix.lower() == ".tsv" and len(first) == 2 and (is_number(first[1]) or first[1] in labels[1:]):
        return None
    if all(is_number(cell) for cell in first):
        raise BadInput(f"{str(path)!r} has no header line; name its columns in the first line, `label` among them")
    return tuple(first)


def _rows(path: Path) -> Iterator[Row]:
    """Cells of every row that is not blank, with the line on which it begins."""
    try:
        # utf-8-sig: what Excel calls UTF-8 begins with a byte order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = _lines(path, file)
            reader = csv.reader(lines, **_dialect(path), strict=True)
            width, begins = None, 1
            for cells in reader:
                if cells:
                    width = width or len(cells)
                    if len(cells) != width:
                        raise BadInput(
                            f"{path.name} line {begins} has {len(cells)} cells where the first has {width}; give every "
                            "row as many, and quote commas inside text"
                        )
                    yield begins, cells
                begins = reader.line_num + 1
    except csv.Error as error:
        raise BadInput(f"{path.name} line {reader.line_num}: {error}; mend that line") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{str(path)!r} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except OSError as error:
        raise BadInput(f"{str(path)!r} cannot be read: {error.strerror}") from error


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    for number in itertools.count(1):
        line = file.readline(MAX_LINE + 1)
        if not line:
            return
        if len(line) > MAX_LINE:
            raise BadInput(
                f"{path.name} line {number} is longer than {MAX_LINE:,} characters; is this a table of text?"
            )
        if "\0" in line:
            raise BadInput(f"{path.name} line {number} holds a NUL byte; save the file as UTF-8 text")
        yield line


def _dialect(path: Path) -> dict[str, Any]:
    if path.suffix.lower() == ".tsv":
        return {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline(MAX_LINE)
    return {"delimiter": ";" if ";" in first and "," not in first else ","}
