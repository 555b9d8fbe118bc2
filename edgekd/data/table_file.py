"""Tables of text or of numbers, CSV, TSV or Parquet: one file, or a folder with one for each split.

Beside these there may be one called `unlabelled`, which needs no label column.

One column is the label. Where one holds text, or two do, that is the input; else all the others are numbers, in the
order of the file. Labels that are whole numbers are classes, other numbers are to be predicted, and words are the
classes' names.
"""

from array import array
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgekd.data.class_folders import SPLIT_FOLDERS
from edgekd.data.classes import listed
from edgekd.data.delimited import read_delimited
from edgekd.data.image import SUFFIXES
from edgekd.data.parquet import read_parquet
from edgekd.data.reading import Reading, Table, Text
from edgekd.data.source import SPLIT_NAMES, UNLABELLED, UNREAD_LABELS, Labels, Part, Source, SplitName
from edgekd.data.table_labels import Cells, interpret, label_cell
from edgekd.data.text_columns import TEXT_NAMES, by_name, existing, text_columns
from edgekd.errors import BadInput

MAX_BYTES = 2**31
LABELS = ("label", "target")
LIKELY_LABELS = {"labels", "targets", "class", "classes", "category", "y", "sentiment"}
TableName = SplitName | Literal["unlabelled"]
STEMS: dict[str, TableName] = {**SPLIT_FOLDERS, "dev": "val", **dict.fromkeys(UNLABELLED, "unlabelled")}


def is_table(path: Path) -> bool:
    """Whether this is a file of a table, or a folder that holds some named as splits and no image."""
    if path.is_dir():
        return any(_splits(path)) and not any(p.suffix.lower() in SUFFIXES for p in path.rglob("*"))
    return path.suffix.lower() in READERS


def read_tables(source: str, reading: Reading) -> Source:
    """Read a table's labels and inputs; text is left as it is.

    Raises BadInput where a file is damaged or too large, a column or a cell is missing or of another kind than the
    others, or splits disagree. Every such message names the file, the line and the column.
    """
    files = _files(Path(source))
    tables = {name: _open(files[name], reading) for name in SPLIT_NAMES if name in files}
    label, inputs, text = _columns(tables["train"], reading)
    used = (*inputs, *((label,) if label else ()))
    for table in tables.values():
        _check_columns(table, used, tables["train"])
    found = {name: _read(table, inputs, label, text) for name, table in tables.items()}
    given = {name: Cells(tables[name], raw, lines) for name, (_, raw, lines) in found.items() if raw is not None}
    labels, classes = interpret(given)
    unread = [name for name in tables["train"].columns if name not in used]
    parts = {name: _part(tables[name], values, lines, labels.get(name)) for name, (values, _, lines) in found.items()}
    notes = [f"columns not read: {listed(unread)}"] * bool(unread)
    unlabelled = None
    if "unlabelled" in files:
        more = _open(files["unlabelled"], reading)
        _check_columns(more, inputs, tables["train"])
        notes += [UNREAD_LABELS] * (label in more.columns)
        values, _, lines = _read(more, inputs, None, text)
        unlabelled = _part(more, values, lines, None)
    texts, columns = (inputs, ()) if text else ((), inputs)
    return Source(
        "table", parts, bool(label), classes, tuple(notes), text=texts, columns=columns, unlabelled=unlabelled
    )


def _check_columns(table: Table, wanted: tuple[str, ...], train: Table) -> None:
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise BadInput(f"{table.name} has no column {listed(missing[:1])}, which {train.name} has; give both")


def _files(root: Path) -> dict[TableName, Path]:
    if not root.is_dir():
        return {"train": root}
    found: dict[TableName, Path] = {}
    for path in _splits(root):
        name = STEMS[path.stem.lower()]
        if name in found:
            raise BadInput(f"{str(root)!r} has both {found[name].name!r} and {path.name!r}; keep one {name} file")
        found[name] = path
    if "train" not in found:
        raise BadInput(f"{str(root)!r} has {listed([path.name for path in found.values()])} but no train file")
    return found


def _splits(root: Path) -> list[Path]:
    try:
        return sorted(p for p in root.iterdir() if p.suffix.lower() in READERS and p.stem.lower() in STEMS)
    except OSError as error:
        raise BadInput(f"folder {str(root)!r} cannot be read: {error.strerror}") from error


def _open(path: Path, reading: Reading) -> Table:
    if path.stat().st_size > MAX_BYTES:
        raise BadInput(f"{str(path)!r} has more than {MAX_BYTES >> 30} GiB; give data of that size by file.py:make")
    named = (name.casefold() for name in (reading.label_column, *reading.text_column) if name)
    table = READERS[path.suffix.lower()](path, {*LABELS, *TEXT_NAMES, *named})
    twice = next((name for name in table.columns if table.columns.count(name) > 1), None)
    if twice is not None:
        raise BadInput(f"{table.name} has two columns named {twice[:60]!r}; give every column its own name")
    return table


def _columns(table: Table, reading: Reading) -> tuple[str | None, tuple[str, ...], bool]:
    """The label's column, those of the input (numbers in the order of the file), and whether the input is text."""
    label = existing(table, reading.label_column, "--label-column") if reading.label_column else _usual_label(table)
    texts = text_columns(table, reading.text_column, label)
    rest = tuple(name for name in table.columns if name != label)
    likely = next((name for name in rest if name.casefold() in LIKELY_LABELS and name not in texts), None)
    if label is None and likely is not None:
        raise BadInput(
            f"{table.name} has no column named label; is it {likely!r}? Then add --label-column {likely}, or rename it"
        )
    if texts:
        return label, texts, True
    if not rest:
        raise BadInput(f"{table.name} has no column besides {label!r}; give the inputs as columns of their own")
    if "" in rest:
        raise BadInput(
            f"column {table.columns.index('') + 1} of {table.name} has no name; remove it where it counts rows, else "
            "name it"
        )
    return label, rest, False


def _usual_label(table: Table) -> str | None:
    named = by_name(table)
    return next((named[name] for name in LABELS if name in named), None)


def _read(
    table: Table, inputs: tuple[str, ...], label: str | None, text: bool
) -> tuple[list[Text] | npt.NDArray[np.float32], list[Any] | None, "array[int]"]:
    """Inputs as texts or float32 (n, columns), labels as they came, and the line of each sample."""
    wanted = tuple(table.columns.index(name) for name in (*inputs, *((label,) if label else ())))
    lines, texts, numbers, labels = array("q"), list[Text](), array("d"), list[Any]()
    for line, cells in table.rows(wanted):
        lines.append(line)
        if label is not None:
            labels.append(label_cell(cells[-1], table, line, label))
        if text:
            told = [_text(cell, table, line, name) for cell, name in zip(cells, inputs, strict=False)]
            texts.append((told[0], told[1]) if len(told) == 2 else told[0])
        else:
            numbers.extend(_number(cell, table, line, name) for cell, name in zip(cells, inputs, strict=False))
    if not lines:
        raise BadInput(f"{table.name} has a header but no samples; write one a {table.unit}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is named when it is used
        values = texts if text else np.frombuffer(numbers).astype(np.float32).reshape(len(lines), len(inputs))
    return values, labels if label is not None else None, lines


def _text(cell: Any, table: Table, line: int, column: str) -> str:
    if not isinstance(cell, str):
        raise BadInput(f"{table.at(line, column)}: {str(cell)[:40]!r} is not text; name the text's with --text-column")
    return cell


def _number(cell: Any, table: Table, line: int, column: str) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        raise BadInput(
            f"{table.at(line, column)}: {str(cell)[:40]!r} is not a number; mend it, or where this is the text to "
            "classify, name it with --text-column"
        ) from None


def _part(
    table: Table, values: list[Text] | npt.NDArray[np.float32], lines: "array[int]", labels: Labels | None
) -> Part:
    return Part(
        count=len(lines),
        fetch=lambda at: values[at],
        name=lambda at: table.at(lines[at]),
        labels=lambda: labels,
    )


READERS: dict[str, Callable[[Path, Collection[str]], Table]] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".parquet": read_parquet,
}
"""By the file's ending."""
