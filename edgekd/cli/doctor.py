"""Say what this machine has and lacks, with a target what its files must look like, with --on what a place needs.

\b
Examples:
  edgekd doctor
  edgekd doctor --target raspberry-pi-4
  edgekd doctor --on emulate:cortex-a76
  edgekd doctor --on emulate:cortex-a72 --target raspberry-pi-4 --install
"""

from typing import TYPE_CHECKING

import typer

from edgekd.cli.console import make_listener
from edgekd.cli.tables import console, print_json, table
from edgekd.errors import PlaceLost

if TYPE_CHECKING:
    from edgekd.doctor import Diagnosis


def command(
    target: str | None = typer.Option(None, help="Device whose needs are shown too."),
    on: str | None = typer.Option(None, "--on", help="Place whose needs are shown instead: emulate:CORE[@VERSION]."),
    install: bool = typer.Option(
        False, "--install", help="Fetch and build what the place lacks; needs no root rights."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print exactly one JSON object on stdout."),
) -> None:
    """Print one line per thing looked at."""
    from edgekd.api import doctor

    make_listener(quiet=as_json, verbose=False)
    found = doctor(target=target, on=on, install=install)
    if as_json:
        print_json({"schema": 1, **found.model_dump(mode="json")})
    else:
        _print(found)
    if on is not None and not all(check.good for check in found.checks):
        raise typer.Exit(PlaceLost.exit_code)


def _print(found: "Diagnosis") -> None:
    rows = table("", "", "")
    for column in rows.columns:
        column.justify = "left"
    for check in found.checks:
        rows.add_row(check.name, ("" if check.good else "! ") + check.found, check.advice)
    console().print(rows)
