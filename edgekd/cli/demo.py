"""The whole job on scikit-learn's handwritten digits: trains a teacher in seconds, then compresses it.

\b
Example:
  edgekd demo --out runs/demo
"""

from pathlib import Path
from typing import Any

import typer
from rich.markup import escape

from edgekd.cli.console import make_listener
from edgekd.cli.run import results_alone_on_stdout, run_and_show
from edgekd.errors import UsageError
from edgekd.progress import StageNote
from edgekd.recipe_file import make_recipe
from edgekd.version import __version__


def command(
    out: Path = typer.Option(Path("runs/demo"), help="Run folder; the demo's model and data go into OUT-inputs."),
    target: str | None = typer.Option(None, help=escape("Device to fit [default: raspberry-pi].")),
    fresh: bool = typer.Option(False, "--fresh/--resume", help="Start over, or go on (the default)."),
    as_json: bool = typer.Option(False, "--json", help="Print exactly one JSON object on stdout."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Print only results and errors."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Print details."),
) -> None:
    """Make the inputs, say the command that does the same, and run it."""
    from edgekd.compression import command_line, require_torch

    if out.name in ("", ".."):
        raise UsageError(f"--out {out} has no name of its own to put the demo's inputs beside; name a folder in it.")
    require_torch()
    listen = make_listener(quiet=quiet, verbose=verbose)
    listen(StageNote("plan", f"edgekd {__version__}: a demo, for which a small teacher is trained first"))
    from edgekd.demo import OPTIONS, TARGET, make_demo_inputs

    with results_alone_on_stdout():
        model, data = make_demo_inputs(out.with_name(f"{out.name}-inputs"))
    options: dict[str, Any] = {**OPTIONS, "target": target or TARGET, "data": str(data)}
    same = command_line("compress", model, recipe=None, out=out, fresh=fresh, options=options)
    if not quiet:
        typer.echo(f"this is the same as:\n  {same}\n", err=True)
    plan = make_recipe(model=str(model), **options)
    run_and_show("compress", plan, out=out, fresh=fresh, command=same, as_json=as_json, listen=listen)
