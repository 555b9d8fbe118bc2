"""Say what this machine or a place has and lacks, and with a target what its files must look like.

\b
Examples:
  edgekd doctor
  edgekd doctor --target raspberry-pi-4
  edgekd doctor --on ssh://pi@raspberrypi.local --target raspberry-pi-4
  edgekd doctor --on emulate:cortex-a76
  edgekd doctor --on emulate:cortex-a72 --target raspberry-pi-4 --install
  edgekd doctor --on adb://0123456789 --install
"""

from typing import TYPE_CHECKING

import typer

from edgekd.cli.console import make_listener
from edgekd.cli.tables import console, print_json, table
from edgekd.errors import PlaceLost
from edgekd.rendering.text import clean

if TYPE_CHECKING:
    from edgekd.diagnosis import Diagnosis


def command(
    target: str | None = typer.Option(None, help="Device whose needs are shown too."),
    on: str = typer.Option("host", "--on", help="Place to look at: host, ssh://, adb:// or emulate:CORE[@VERSION]."),
    install: bool = typer.Option(
        False, "--install", help="Fetch and build here what an emulated core or a board without Python takes."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print exactly one JSON object on stdout."),
) -> None:
    """Print one line per thing looked at."""
    from edgekd.api import doctor
    from edgekd.places.emulate import KIND

    make_listener(quiet=as_json, verbose=False)
    found = doctor(target=target, on=on, install=install)
    if as_json:
        print_json({"schema": 1, **found.model_dump(mode="json")})
    else:
        _print(found)
    if on.startswith(KIND) and not all(check.good for check in found.checks):
        raise typer.Exit(PlaceLost.exit_code)


def _print(found: "Diagnosis") -> None:
    rows = table("", "", "")
    for column in rows.columns:
        column.justify = "left"
    for check in found.checks:
        rows.add_row(check.name, ("" if check.good else "! ") + clean(check.found, longest=200), check.advice)
    console().print(rows)
