"""Make one zip file of an artifact, after checking it; the same artifact gives the same bytes, whenever and wherever.

\b
Examples:
  edgekd pack runs/model-raspberry-pi-5-1a2b3c4d
  edgekd pack artifact --out model-1.2.zip
"""

from pathlib import Path

import typer

from edgekd.cli.tables import print_json


def command(
    artifact: Path = typer.Argument(help="Artifact or run folder."),
    out: Path | None = typer.Option(None, help="The zip file [default: beside the artifact, named as it]."),
    as_json: bool = typer.Option(False, "--json", help="Print exactly one JSON object on stdout."),
) -> None:
    """Print what was written; an artifact that does not verify is not packed, exit code 3."""
    from edgekd.api import pack

    packed = pack(artifact, out=out)
    if as_json:
        return print_json({"schema": 1, **packed.model_dump(mode="json")})
    size = f"{packed.size_bytes / 1024:,.1f} KiB"
    typer.echo(f"{packed.path}: {packed.files} files, {size}, SHA-256 {packed.sha256}")
