"""Parquet files as tables of typed cells, read by pyarrow a batch at a time."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from edgekd.data.reading import Table
from edgekd.errors import BadInput, UsageError, reason_of

BATCH = 1024


def read_parquet(path: Path, known: Collection[str]) -> Table:
    """Look at a Parquet file's schema; its rows are read when they are asked for, and only the columns that are.

    Raises BadInput where the file is damaged, and UsageError where pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError(
            f"{str(path)!r} needs pyarrow, which is not installed; run: pip install 'edgekd[parquet]'"
        ) from None
    broken = (OSError, ValueError, NotImplementedError, pyarrow.ArrowException)
    try:
        columns = tuple(str(name) for name in pyarrow.parquet.ParquetFile(path).schema_arrow.names)
    except broken as error:
        raise _damaged(path, error) from error

    def rows(wanted: tuple[int, ...]) -> Iterator[tuple[int, tuple[Any, ...]]]:
        names = [columns[at] for at in wanted]
        number = 0
        try:
            for batch in pyarrow.parquet.ParquetFile(path).iter_batches(BATCH, columns=names):
                # By name: pyarrow gives columns in the file's own order.
                for cells in zip(*(batch.column(name).to_pylist() for name in names), strict=True):
                    number += 1
                    yield number, cells
        except broken as error:
            raise _damaged(path, error) from error

    return Table(path.name, "row", columns, rows)


def _damaged(path: Path, error: Exception) -> BadInput:
    reason = reason_of(error)
    return BadInput(f"{str(path)!r} cannot be read as Parquet: {reason}")
