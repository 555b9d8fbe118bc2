"""Say what this machine or a board has and lacks, and with a target what its files must look like.

\b
Examples:
  edgekd doctor
  edgekd doctor --target raspberry-pi-4
  edgekd doctor --on ssh://pi@raspberrypi.local --target raspberry-pi-4
"""

import typer

from edgekd.cli.console import make_listener
from edgekd.cli.tables import console, print_json, table
from edgekd.rendering.text import clean


def command(
    target: str | None = typer.Option(None, help="Device whose needs are shown too."),
    on: str = typer.Option("host", "--on", help="Place to look at."),
    as_json: bool = typer.Option(False, "--json", help="Print exactly one JSON object on stdout."),
) -> None:
    """Print one line per thing looked at."""
    from edgekd.api import doctor

    make_listener(quiet=False, verbose=False)
    found = doctor(target=target, on=on)
    if as_json:
        return print_json({"schema": 1, **found.model_dump(mode="json")})
    rows = table("", "", "")
    for column in rows.columns:
        column.justify = "left"
    for check in found.checks:
        rows.add_row(check.name, ("" if check.good else "! ") + clean(check.found, longest=200), check.advice)
    console().print(rows)
