"""Which columns of a table hold its text: one, or the two of a pair of sentences."""

from itertools import islice

from edgekd.data.classes import listed
from edgekd.data.reading import Table
from edgekd.data.table_labels import is_number
from edgekd.errors import BadInput, UsageError, did_you_mean

PAIRS = (("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence"))
"""As the data sets of GLUE name them (Wang et al. 2019)."""
USUAL = (("text",), *PAIRS, ("sentence",))
TEXT_NAMES = {name for names in USUAL for name in names}
HEAD = 1000
"""Rows that tell whether a column holds text."""


def text_columns(table: Table, chosen: tuple[str, ...], label: str | None) -> tuple[str, ...]:
    """The column of the text, or the two of a pair, first and second; () where the table is one of numbers.

    They are those `chosen`, else of usual names, else the only two beside a label where neither has a number in it.

    Raises:
        UsageError: more than two are chosen, or one twice.
        BadInput: one that is chosen is not there or is the label, or several may be the text.
    """
    if len(chosen) > 2 or len(set(chosen)) < len(chosen):
        raise UsageError(f"--text-column names {listed(chosen)}; give one column, or the two of a pair")
    found = tuple(existing(table, name, "--text-column") for name in chosen) or _usual(table)
    if label is not None and label in found:
        raise BadInput(f"column {label!r} of {table.name} cannot be both label and text")
    return found or (_by_content(table, label) if label is not None else ())


def existing(table: Table, name: str, option: str) -> str:
    """`name`, which `option` gives. Raises BadInput where the table has no such column."""
    if name not in table.columns:
        shown = [column[:60] for column in table.columns[:20]]
        raise BadInput(f"{table.name} has no column for {option} {name}{did_you_mean(name, shown)}")
    return name


def by_name(table: Table) -> dict[str, str]:
    """Columns as the table names them, by their names in lower case."""
    return {name.casefold(): name for name in reversed(table.columns)}


def _usual(table: Table) -> tuple[str, ...]:
    named = by_name(table)
    return next((tuple(named[name] for name in names) for names in USUAL if named.keys() >= set(names)), ())


def _by_content(table: Table, label: str) -> tuple[str, ...]:
    """The only two columns, of text. One alone, or a number among them, leaves a table of numbers with mistakes."""
    rest = [name for name in table.columns if name != label]
    head = [cells for _, cells in islice(table.rows(tuple(map(table.columns.index, rest))), HEAD)]
    if len(rest) < 2 or not head or not all(map(_are_texts, zip(*head, strict=True))):
        return ()
    if len(rest) > 2:
        raise BadInput(
            f"{table.name} has {len(rest)} columns of text, {listed(rest)}; name the one to classify, or the two of "
            "a pair, with --text-column"
        )
    return tuple(rest)


def _are_texts(cells: tuple[object, ...]) -> bool:
    told = [cell for cell in cells if cell not in (None, "")]
    return bool(told) and all(isinstance(cell, str) and not is_number(cell) for cell in told)
