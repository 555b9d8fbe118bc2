"""Render the report of a run again, from its results.json.

\b
Example:
  edgekd report runs/model-raspberry-pi-5-1a2b3c4d
"""

from pathlib import Path

import typer

from edgekd.cli.tables import print_json, print_report


def command(
    run: Path = typer.Argument(help="Run folder, or its report/results.json."),
    as_json: bool = typer.Option(False, "--json", help="Print results.json on stdout."),
) -> None:
    """Write report/ again and print its summary."""
    from edgekd.api import report, run_folder

    found = report(run)
    if as_json:
        return print_json(found.model_dump(mode="json", by_alias=True))
    print_report(found, run_folder(run))
