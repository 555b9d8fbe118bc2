"""`--dry-run` and `--save-recipe`: the plan, shown or written instead of run."""

from pathlib import Path
from typing import Any

import typer

from edgekd.budget import parse_budgets
from edgekd.cli.tables import print_json
from edgekd.defaults import EPOCHS, KEEP_MACS
from edgekd.device import DeviceProfile, resolve
from edgekd.errors import UsageError
from edgekd.identity import default_folder, settle_student
from edgekd.preflight import check_plan, runtime_names, scheme_names
from edgekd.recipe import Recipe
from edgekd.recipe_file import as_yaml
from edgekd.runtimes import RUNTIMES
from edgekd.workspace import write_atomic


def show_plan(plan: Recipe, *, out: Path | None, dry_run: bool, save_recipe: Path | None, as_json: bool) -> bool:
    """Write and show the plan as asked, and refuse what a run would refuse; True where nothing is to be run.

    Raises:
        UsageError: the recipe file cannot be written, or as `check_plan`.
        BadInput: as `check_plan`.
    """
    if save_recipe:
        try:
            write_atomic(save_recipe, as_yaml(plan).encode("utf-8"))
        except OSError as error:
            raise UsageError(f"--save-recipe {save_recipe} cannot be written: {error.strerror}.") from None
    if not dry_run:
        return False
    check_plan(plan, out=out)
    resolved = resolve(plan.target)
    settled, fallbacks = settle_student(plan)
    profile = resolved.profile
    folder = out or default_folder(settled, profile)
    decided = {**_training(settled), **_candidates(settled, profile)}
    if as_json:
        described = {
            "decisions": [one.model_dump() for one in profile.decisions()],
            "recipe": settled.model_dump(mode="json"),
            "profile": profile.model_dump(mode="json"),
        }
        print_json({"schema": 1, "run": str(folder), "fallbacks": list(fallbacks), "settled": decided, **described})
        return True
    lines = [f"run folder {folder}", *(line for line in (resolved.note, *fallbacks) if line)]
    lines += [f"{one.what}: {one.value} ({one.reason})" for one in profile.decisions()]
    lines += [f"{key}: {', '.join(value) if isinstance(value, list) else value}" for key, value in decided.items()]
    for line in lines:
        typer.echo(f"# {line}")
    typer.echo(as_yaml(settled), nl=False)
    return True


def _training(plan: Recipe) -> dict[str, Any]:
    """What is trained and for how long, with the defaults that were not typed."""
    if plan.student == "none":
        return {"training": "none: the model itself is compressed"}
    control = (
        "with the teacher, and where there are labels once more without" if plan.judge else "with the teacher only"
    )
    if plan.data is None:
        control = "with the teacher only, on inputs synthesised from it"
    length = f"{plan.time} in all" if plan.time else f"{plan.epochs or EPOCHS} epochs each"
    return {"student": _student(plan), "training": f"{control}; {length}", "batch size": plan.batch_size}


def _student(plan: Recipe) -> str:
    if plan.student != "auto":
        return str(plan.student)
    limits = [b for b in parse_budgets(plan.budget) if b.metric in ("latency", "latency_p50")]
    if plan.keep_macs is None and limits:
        tightest = min(limits, key=lambda budget: budget.limit)
        return f"pruned from the teacher: the largest tried whose estimate fits {tightest.metric}={tightest.limit:g}ms"
    return f"pruned from the teacher to {100 * (plan.keep_macs or KEEP_MACS):g} % of its MACs"


def _candidates(plan: Recipe, profile: DeviceProfile) -> dict[str, Any]:
    """Schemes and runtimes that compete, and why the others that were asked for do not."""
    asked = runtime_names(plan.runtimes)
    here = [name for name in asked if name in profile.runtimes and RUNTIMES[name].available()]
    found: dict[str, Any] = {"schemes": list(scheme_names(plan.schemes, profile)), "runtimes": here}
    if plan.emulate:
        from edgekd.emulated_figures import core_for

        found["emulated"] = core_for(profile).place
    absent = [f"{name} ({_why_not(name, profile)})" for name in asked if name not in here]
    return {**found, "runtimes left out": absent} if absent else found


def _why_not(runtime: str, profile: DeviceProfile) -> str:
    return f"not on {profile.name}" if runtime not in profile.runtimes else "not installed here"
