"""Say what this machine has and lacks, and with a target what its files must look like.

\b
Examples:
  edgekd doctor
  edgekd doctor --target raspberry-pi-4
"""

import typer

from edgekd.cli.tables import console, print_json, table


def command(
    target: str | None = typer.Option(None, help="Device whose needs are shown too."),
    as_json: bool = typer.Option(False, "--json", help="Print exactly one JSON object on stdout."),
) -> None:
    """Print one line per thing looked at."""
    from edgekd.api import doctor

    found = doctor(target=target)
    if as_json:
        return print_json({"schema": 1, **found.model_dump(mode="json")})
    rows = table("", "", "")
    for column in rows.columns:
        column.justify = "left"
    for check in found.checks:
        rows.add_row(check.name, ("" if check.good else "! ") + check.found, check.advice)
    console().print(rows)
