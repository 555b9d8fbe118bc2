"""The whole job on scikit-learn's handwritten digits: trains a teacher in seconds, then compresses it.

\b
Example:
  edgekd demo --out runs/demo
"""

import shlex
from pathlib import Path
from typing import Any

import typer

from edgekd.cli.console import make_listener
from edgekd.cli.tables import print_json, print_report
from edgekd.recipe import make_recipe


def command(
    out: Path = typer.Option(Path("runs/demo"), help="Run folder; the demo's model and data go into OUT-inputs."),
    target: str | None = typer.Option(None, help="Device to fit [default: raspberry-pi]."),
    fresh: bool = typer.Option(False, "--fresh/--resume", help="Start over, or go on (the default)."),
    as_json: bool = typer.Option(False, "--json", help="Print exactly one JSON object on stdout."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Print only results and errors."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Print details."),
) -> None:
    """Make the inputs, say the command that does the same, and run it."""
    from edgekd.api import require_torch

    require_torch()
    from edgekd import pipeline
    from edgekd.demo import OPTIONS, TARGET, make_demo_inputs

    listen = make_listener(quiet=quiet, verbose=verbose)
    model, data = make_demo_inputs(out.with_name(f"{out.name}-inputs"))
    options: dict[str, Any] = {**OPTIONS, "target": target or TARGET, "data": str(data)}
    words = ["edgekd", "compress", str(model), "--out", str(out)]
    for name, value in options.items():
        for one in value if isinstance(value, tuple) else (value,):
            words += [f"--{name.replace('_', '-')}", str(one)]
    if not quiet:
        typer.echo(f"this is the same as:\n  {shlex.join(words)}\n", err=True)
    plan = make_recipe(model=str(model), **options)
    root, report = pipeline.run_compress(plan, out=out, fresh=fresh, command=shlex.join(words), listen=listen)
    if as_json:
        print_json(report.model_dump(mode="json", by_alias=True))
    else:
        print_report(report, root)
    raise typer.Exit(report.exit_code)
