"""Render the report of a run again, hold two runs against each other, or show the trend of many.

\b
Examples:
  edgekd report runs/model-raspberry-pi-5-1a2b3c4d
  edgekd report runs/before runs/after
  edgekd report --history runs/
"""

from pathlib import Path
from typing import Any

import typer

from edgekd.cli.tables import print_json, print_page, print_report
from edgekd.errors import UsageError
from edgekd.record import Record


def command(
    run: Path | None = typer.Argument(None, help="Run folder, or its report/results.json."),
    other: Path | None = typer.Argument(None, help="A later run, to be held against the first."),
    history: Path | None = typer.Option(None, help="Folder of many runs, or of their results.json."),
    out: Path | None = typer.Option(None, help="Folder for the page of several runs; default: beside the last run."),
    as_json: bool = typer.Option(False, "--json", help="Print exactly one JSON object on stdout."),
) -> None:
    """Write the page, and print its summary."""
    from edgekd.api import report, report_between, report_history, results_folder, run_folder
    from edgekd.rendering.between_runs import between_runs_page
    from edgekd.rendering.history import history_page

    if (run is None) == (history is None) or (out and not (other or history)):
        raise UsageError("Name one run, two runs, or by --history a folder of many; --out is for the last two.")
    if history is not None:
        trend = report_history(history, out=out)
        return (
            print_json(_plain(trend)) if as_json else print_page(history_page(trend), (out or history) / "history.html")
        )
    assert run is not None
    if other is not None:
        compared = report_between(run, other, out=out)
        return (
            print_json(_plain(compared))
            if as_json
            else print_page(between_runs_page(compared), (out or results_folder(other)) / "between_runs.html")
        )
    found = report(run)
    return print_json(_plain(found)) if as_json else print_report(found, run_folder(run))


def _plain(record: Record) -> dict[str, Any]:
    return record.model_dump(mode="json", by_alias=True)
