"""Figures of several models as columns that say once what all their figures share: how and where they were obtained."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgekd.figures import Figures, Number
from edgekd.rendering.text import figure, spoken, where

ONE_LATENCY = "Neither estimates nor counts tell the median latency from the tail; the interval covers both."


@dataclass(frozen=True)
class Column:
    """One figure of every row. `said` is the word and place that all share, as in "estimated for raspberry-pi-4"; ""
    where they differ, so that each cell must say its own. `unit` replaces the figures' own."""

    title: str
    said: str
    numbers: tuple[Number | None, ...]
    unit: str | None = None

    @property
    def head(self) -> str:
        """The title with what all share."""
        return f"{self.title}, {self.said}" if self.said else self.title

    @property
    def texts(self) -> list[str]:
        """Each figure with its interval, and with its word and place unless the head says those."""
        write = figure if self.said else spoken
        return [write(number, self.unit) for number in self.numbers]


def score_column(title: str, rows: Sequence[Figures]) -> Column:
    """The scores of all rows."""
    return column(title, [figures.score for figures in rows], unit="score")


def latency_columns(rows: Sequence[Figures]) -> tuple[Column, ...]:
    """Median and tail; one column where no row tells them apart, as no estimate does (`ONE_LATENCY` says so)."""
    median, tail = [f.latency_p50_ms for f in rows], [f.latency_p95_ms for f in rows]
    if median == tail:
        return (column("Latency", median),)
    return column("Latency p50", median), column("Latency p95", tail)


def memory_column(rows: Sequence[Figures]) -> Column:
    """The peak memory of all rows."""
    return column("Peak memory", [figures.peak_memory_kib for figures in rows])


def column(title: str, numbers: Sequence[Number | None], *, unit: str | None = None) -> Column:
    """These figures with what they share."""
    said = {f"{number.word} {where(number)}".strip() for number in numbers if number is not None}
    return Column(title, said.pop() if len(said) == 1 else "", tuple(numbers), unit)
