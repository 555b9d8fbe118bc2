"""Recipes from files and options, and back: what is given where wins, and what a file may not ask for."""

import hashlib
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from edgekd.errors import BadInput, UsageError, did_you_mean
from edgekd.project_file import check_limits, read_mapping, read_project, settle
from edgekd.recipe import CODE_FIELDS, Recipe, code_file
from edgekd.resources import data_folder


def make_recipe(recipe: str | None = None, **options: Any) -> Recipe:
    """Combine a recipe (a name in `pipelines/` or a YAML file) with options, which win; None counts as not given.

    Budgets, and those that only warn, merge by metric: options over the recipe over `edgekd.yaml` of the working
    directory; the plan keeps those that are for its target.

    Raises:
        UsageError: an option that does not exist, has the wrong type, or two that exclude each other.
        BadInput: a recipe file that cannot be read, or has an unknown key or a budget that is none.
    """
    given = {name: _as_written(name, value) for name, value in options.items() if value is not None and value != ()}
    stored = _read_yaml(_recipe_path(recipe)) if recipe else {}
    _refuse_unnamed_code(stored, given)
    project = read_project()
    if "epochs" in given or "time" in given:
        stored = {key: value for key, value in stored.items() if key not in ("epochs", "time")}
    plan = _validate({**stored, **given}, origin=None)
    limits = {
        kind: settle((getattr(project, kind), stored.get(kind, ()), given.get(kind, ())), plan.target)
        for kind in ("budget", "warn")
    }
    plan = plan.model_copy(update=limits)
    if plan.epochs is not None and plan.time is not None:
        raise UsageError("--epochs and --time both say how long to train; give one of them.")
    return plan


def as_yaml(recipe: Recipe) -> str:
    """The recipe as a YAML file that `--recipe` reads back: settings that differ from the default, and code hashes.

    `trust` is left out: it is the user's word for one call.
    """
    values = recipe.model_dump(mode="json", exclude_defaults=True, exclude={"trust"})
    values["code"] = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in _code_files(recipe)}
    if not values["code"]:
        del values["code"]
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def recipe_names() -> list[str]:
    """Names that `--recipe` knows."""
    return sorted(path.stem for path in data_folder("pipelines").glob("*.yaml"))


def _code_files(recipe: Recipe) -> list[tuple[str, Path]]:
    named = [(value, code_file(value)) for value in (getattr(recipe, field) for field in CODE_FIELDS)]
    return [(value, path) for value, path in named if path is not None and path.is_file()]


def _recipe_path(recipe: str) -> Path:
    if recipe.endswith((".yaml", ".yml")) or "/" in recipe:
        return Path(recipe)
    path = data_folder("pipelines") / f"{recipe}.yaml"
    if not path.is_file():
        raise UsageError(f"There is no recipe {recipe!r}{did_you_mean(recipe, recipe_names())}")
    return path


def _read_yaml(path: Path) -> dict[str, Any]:
    values = read_mapping(path)
    if "trust" in values:
        raise BadInput(f"The file {path} sets `trust`, which no file can grant; remove it, or type --trust yourself.")
    values = {key: _as_written(key, value) for key, value in values.items()}
    _validate(values, origin=path)
    check_limits(path, values)
    return values


def _as_written(name: str, value: Any) -> Any:
    """A value as the command line would give it: paths and numbers as text, a single one of many as a tuple of it."""
    if isinstance(value, Path):
        return str(value)
    field = Recipe.model_fields.get(name)
    if field is not None and field.annotation == tuple[str, ...]:
        return tuple(str(one) for one in value) if isinstance(value, list | tuple) else (value,)
    return ",".join(str(one) for one in value) if isinstance(value, list | tuple) else value


def _validate(values: dict[str, Any], *, origin: Path | None) -> Recipe:
    kind = BadInput if origin else UsageError
    where = f" in {origin}" if origin else ""
    unknown = [key for key in values if key not in Recipe.model_fields]
    if unknown:
        raise kind(f"Unknown setting {unknown[0]!r}{where}{did_you_mean(str(unknown[0]), Recipe.model_fields)}")
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = first["loc"][0] if first["loc"] else "?"
        raise kind(f"Setting {key!r}{where} is {first['input']!r}: {first['msg'].lower()}.") from None


def _refuse_unnamed_code(stored: dict[str, Any], given: dict[str, Any]) -> None:
    """A recipe is data: code that it names runs only when named again as an option, or with trust and unchanged."""
    for field in CODE_FIELDS:
        path = code_file(stored.get(field))
        if path is None or given.get(field) == stored[field]:
            continue
        if field in given:
            continue
        option = f"--{field.replace('_', '-')} {stored[field]}"
        if not given.get("trust"):
            raise UsageError(f"The recipe wants to run code from {path}; if you trust it, add {option} or --trust.")
        recorded = stored.get("code", {}).get(stored[field])
        actual = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        if recorded and actual and recorded != actual:
            raise BadInput(f"{path} changed since the recipe was saved; if you trust the new code, add {option}.")
