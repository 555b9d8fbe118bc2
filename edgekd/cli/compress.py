"""Turn a trained model into a file that fits the device, with the proof beside it.

\b
Examples:
  edgekd compress model.pt2 --target raspberry-pi --data images/
  edgekd compress model.pt2 --target raspberry-pi-4 --data images/ --time 30m
  edgekd compress weights.pt --arch timm:resnet18 --data images.npz
  edgekd compress weights.pt --arch net.py:build --student timm:mobilenetv3_small_050
  edgekd compress model.onnx --student none --data images/ --budget drop=1%
"""

import shlex
import sys
from pathlib import Path
from typing import Any

import typer

from edgekd.cli.console import make_listener
from edgekd.cli.options import pipeline_command
from edgekd.cli.plan import show_plan
from edgekd.cli.tables import print_json, print_report
from edgekd.recipe import make_recipe


def run(
    model: str,
    options: dict[str, Any],
    *,
    recipe: str | None,
    out: Path | None,
    fresh: bool | None,
    dry_run: bool,
    save_recipe: Path | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Run the whole job and exit with its verdict."""
    plan = make_recipe(recipe, model=model, **options)
    if show_plan(plan, dry_run=dry_run, save_recipe=save_recipe, as_json=as_json):
        return
    from edgekd.api import require_torch

    require_torch()
    from edgekd import pipeline

    listen = make_listener(quiet=quiet, verbose=verbose)
    command = shlex.join(["edgekd", *sys.argv[1:]])
    root, report = pipeline.run_compress(plan, out=out, fresh=bool(fresh), command=command, listen=listen)
    if as_json:
        print_json(report.model_dump(mode="json", by_alias=True))
    else:
        print_report(report, root)
    raise typer.Exit(report.exit_code)


command = pipeline_command(run)
command.__doc__ = __doc__
