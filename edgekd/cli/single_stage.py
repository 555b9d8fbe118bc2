"""What `distill`, `export` and `quantize` share: the pipeline up to one stage, and its result as JSON or a line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from edgekd.cli.console import make_listener
from edgekd.cli.options import pipeline_command
from edgekd.cli.plan import show_plan
from edgekd.cli.tables import print_json
from edgekd.recipe import make_recipe


def stage_command(stage: str) -> Callable[..., None]:
    """A command that runs the pipeline up to `stage` and prints where its files are."""

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
        plan = make_recipe(recipe, model=model, **options)
        if show_plan(plan, dry_run=dry_run, save_recipe=save_recipe, as_json=as_json):
            return
        from edgekd.api import require_torch

        require_torch()
        from edgekd import pipeline

        listen = make_listener(quiet=quiet, verbose=verbose)
        run_until = getattr(pipeline, f"run_{stage}")
        root, result = run_until(plan, out=out, fresh=bool(fresh), listen=listen)
        if as_json:
            print_json(result.model_dump(mode="json", by_alias=True))
        else:
            typer.echo(f"{root / 'stages' / stage}")

    return pipeline_command(run)
