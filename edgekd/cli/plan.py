"""`--dry-run` and `--save-recipe`: the plan, shown or written instead of run."""

from pathlib import Path

import typer

from edgekd.cli.tables import print_json
from edgekd.device import resolve
from edgekd.errors import UsageError
from edgekd.identity import default_folder, settle_student
from edgekd.preflight import check_plan
from edgekd.recipe import Recipe, as_yaml
from edgekd.workspace import write_atomic


def show_plan(plan: Recipe, *, out: Path | None, dry_run: bool, save_recipe: Path | None, as_json: bool) -> bool:
    """Write and show the plan as asked, and refuse what a run would refuse; True where nothing is to be run.

    Raises:
        UsageError: the recipe file cannot be written, or as `check_plan`.
    """
    if save_recipe:
        try:
            write_atomic(save_recipe, as_yaml(plan).encode("utf-8"))
        except OSError as error:
            raise UsageError(f"--save-recipe {save_recipe} cannot be written: {error.strerror}.") from None
    if not dry_run:
        return False
    check_plan(plan)
    resolved = resolve(plan.target)
    settled, fallbacks = settle_student(plan)
    folder = out or default_folder(settled, resolved.profile)
    profile, numerics = resolved.profile, resolved.profile.numerics
    if as_json:
        described = {"recipe": settled.model_dump(mode="json"), "profile": profile.model_dump(mode="json")}
        print_json({"schema": 1, "run": str(folder), "fallbacks": list(fallbacks), **described})
        return True
    typer.echo(f"# run folder {folder}")
    for line in (resolved.note, *fallbacks):
        if line:
            typer.echo(f"# {line}")
    channel = "per channel" if numerics.per_channel else "per tensor"
    reduced = ", 7-bit weights" if numerics.reduce_range else ""
    typer.echo(f"# int8 for {profile.core}: {numerics.activations} activations, {channel}{reduced}")
    for name, runtime in profile.runtimes.items():
        typer.echo(f"# {name} {runtime.version}: opset up to {runtime.max_opset}, IR up to {runtime.max_ir}")
    typer.echo(as_yaml(settled), nl=False)
    return True
