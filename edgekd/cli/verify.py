"""Check an artifact: every file is listed and unchanged, and every graph in it computes what the pipeline did.

\b
Example:
  edgekd verify runs/model-raspberry-pi-5-1a2b3c4d
  edgekd verify artifact
"""

from pathlib import Path

import typer

from edgekd.cli.tables import print_json


def command(
    artifact: Path = typer.Argument(help="Artifact or run folder."),
    as_json: bool = typer.Option(False, "--json", help="Print exactly one JSON object on stdout."),
) -> None:
    """Print what was checked; the first fault ends with exit code 3."""
    from edgekd.api import verify

    found = verify(artifact)
    if as_json:
        return print_json({"schema": 1, **found.model_dump(mode="json")})
    typer.echo(
        f"good: {found.files} files as listed, {found.vectors} parity vectors by {', '.join(found.graphs)}, outputs "
        f"within {found.largest_difference:.2g} of the largest by {found.runtime}"
    )
    for name, reason in found.left_out.items():
        typer.echo(f"not run: {name}, {reason}")
