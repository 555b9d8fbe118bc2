"""Render the report of a run again, hold two runs against each other, or show the trend of many.

\b
Examples:
  edgekd report runs/model-raspberry-pi-5-1a2b3c4d
  edgekd report runs/before runs/after
  edgekd report --history runs/
"""

from pathlib import Path

import typer

from edgekd.cli.tables import print_json, print_page, print_report
from edgekd.errors import UsageError
from edgekd.record import Record
from edgekd.rendering.sections import Page


def command(
    run: Path | None = typer.Argument(None, help="Run folder, or its report/results.json."),
    other: Path | None = typer.Argument(None, help="A later run, to be held against the first."),
    history: Path | None = typer.Option(None, help="Folder of many runs, or of their results.json."),
    out: Path | None = typer.Option(None, help="Folder for the page of several runs; default: beside the last run."),
    as_json: bool = typer.Option(False, "--json", help="Print exactly one JSON object on stdout."),
) -> None:
    """Write the page, and print its summary."""
    from edgekd.api import report, report_between, report_history, run_folder
    from edgekd.past_runs import results_folder
    from edgekd.rendering.between_runs import between_runs_page
    from edgekd.rendering.history import history_page

    if (run is None) == (history is None) or (out and not (other or history)):
        raise UsageError("Name one run, two runs, or by --history a folder of many; --out is for the last two.")
    if history is not None:
        trend = report_history(history, out=out)
        _show(trend, history_page(trend), (out or history) / "history.html", as_json)
    elif run is not None and other is not None:
        compared = report_between(run, other, out=out)
        _show(compared, between_runs_page(compared), (out or results_folder(other)) / "between_runs.html", as_json)
    elif run is not None:
        found = report(run)
        if as_json:
            print_json(found.model_dump(mode="json", by_alias=True))
        else:
            print_report(found, run_folder(run))


def _show(record: Record, page: Page, file: Path, as_json: bool) -> None:
    if as_json:
        print_json(record.model_dump(mode="json", by_alias=True))
    else:
        print_page(page, file)
