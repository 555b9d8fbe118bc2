"""Many runs in the order of time: the figures of what each shipped. Pure: reports in, a record out."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from edgekd.between_runs import figures_of, summary_of
from edgekd.figures import Number
from edgekd.record import Record
from edgekd.results import Report, Verdict


class HistoryEntry(Record):
    """One run. `figures` are those of what shipped, by the names of results.json."""

    run: str
    finished: str
    dated_by_file: bool
    """Whether the time is that of the file, since the run does not say its own."""
    verdict: Verdict
    edgekd: str
    target: str
    model: str
    shipped: str | None
    figures: dict[str, Number]


class History(Record):
    """`report --history DIR --json`: runs, the oldest first. `left_out` are files to the reason why."""

    schema_version: Literal[1] = Field(1, alias="schema")
    entries: tuple[HistoryEntry, ...]
    left_out: dict[str, str] = {}


def history_of(runs: Iterable[tuple[str, Report, float]], *, left_out: Mapping[str, str]) -> History:
    """Put runs in order, each given as where it was read from, its report, and the file's time in seconds since 1970,
    which stands for that of a run that does not say its own."""
    entries = sorted(
        (_entry(*run) for run in runs), key=lambda entry: (datetime.fromisoformat(entry.finished), entry.run)
    )
    return History(schema=1, entries=tuple(entries), left_out=dict(left_out))


def _entry(run: str, report: Report, written: float) -> HistoryEntry:
    known, said = summary_of(report, run), _moment(report.finished)
    return HistoryEntry(
        run=run,
        finished=(said or datetime.fromtimestamp(written, UTC)).isoformat(timespec="seconds"),
        dated_by_file=said is None,
        verdict=known.verdict,
        edgekd=known.edgekd,
        target=known.target,
        model=known.model,
        shipped=known.shipped,
        figures=figures_of(report),
    )


def _moment(text: str | None) -> datetime | None:
    """The moment of an ISO 8601 text, UTC where it has no offset; None where it is no such text."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
