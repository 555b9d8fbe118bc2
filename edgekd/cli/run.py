"""What `compress`, `distill`, `export` and `quantize` share: the plan, the pipeline up to a stage, and its result."""

import contextlib
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from edgekd.cli.console import make_listener
from edgekd.cli.options import pipeline_command
from edgekd.cli.plan import show_plan
from edgekd.cli.tables import print_json, print_report
from edgekd.device import resolve
from edgekd.identity import default_folder, settle_student
from edgekd.preflight import check_plan
from edgekd.progress import Listener, StageNote
from edgekd.recipe import Recipe
from edgekd.recipe_file import make_recipe
from edgekd.results import Report
from edgekd.version import __version__


def stage_command(stage: str) -> Callable[..., None]:
    """A command that runs the pipeline up to `stage`, or wholly for "compress"."""

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
        if show_plan(plan, out=out, dry_run=dry_run, save_recipe=save_recipe, as_json=as_json):
            return
        listen = make_listener(quiet=quiet, verbose=verbose)
        out = begin(plan, out=out, listen=listen)
        command = shlex.join(["edgekd", *sys.argv[1:]])
        run_and_show(stage, plan, out=out, fresh=bool(fresh), command=command, as_json=as_json, listen=listen)

    return pipeline_command(run)


def begin(plan: Recipe, *, out: Path | None, listen: Listener) -> Path:
    """Say at once what starts and where it goes, since importing torch takes seconds; return the run folder.

    Raises:
        UsageError, BadInput: as `check_plan`, before any folder is made.
    """
    listen(StageNote("plan", f"edgekd {__version__}: {plan.model} for {plan.target}"))
    check_plan(plan, out=out)
    root = out or default_folder(settle_student(plan)[0], resolve(plan.target).profile)
    listen(StageNote("plan", f"run folder {root}"))
    return root


def run_and_show(
    stage: str, plan: Recipe, *, out: Path | None, fresh: bool, command: str, as_json: bool, listen: Listener
) -> None:
    """Run the plan, print what it found as JSON or for a person, and exit with the verdict where there is one."""
    from edgekd.compression import run_until

    with results_alone_on_stdout():
        root, found = run_until(stage, plan, out=out, fresh=fresh, command=command, listen=listen)
    if as_json:
        print_json(found.model_dump(mode="json", by_alias=True))
    elif isinstance(found, Report):
        print_report(found, root)
    else:
        typer.echo(root / "stages" / stage)
    if isinstance(found, Report):
        raise typer.Exit(found.exit_code)


def results_alone_on_stdout() -> contextlib.AbstractContextManager[Any]:
    """Send to stderr what a user's own code and the libraries print while they work."""
    return contextlib.redirect_stdout(sys.stderr)
