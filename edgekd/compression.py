"""The public functions that compress: the whole job, or as far as one stage, with the recipe's fields as keywords.

Torch is imported when one of them is called, so that what builds a command line can be imported without it.
"""

import importlib.util
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.command_line import option_words
from edgekd.errors import UsageError
from edgekd.progress import Listener, silent
from edgekd.recipe import Recipe
from edgekd.recipe_file import make_recipe
from edgekd.results import Report

if TYPE_CHECKING:
    from edgekd.stages.distill import Distilled
    from edgekd.stages.export import Exports
    from edgekd.stages.quantize import Quantized


def compress(
    model: str | Path,
    *,
    recipe: str | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    listen: Listener = silent,
    **options: Any,
) -> Report:
    """Run the whole job; `options` are the fields of `edgekd.recipe.Recipe`.

    A missed budget is a verdict in the report, not an exception.

    Raises:
        UsageError: options that do not exist or do not combine.
        BadInput: a model or data that cannot be used.
    """
    report: Report = _run("compress", model, recipe, out, fresh, listen, options)
    return report


def distill(
    model: str | Path,
    *,
    recipe: str | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    listen: Listener = silent,
    **options: Any,
) -> "Distilled":
    """Run as far as the trained student; as `compress` otherwise."""
    distilled: Distilled = _run("distill", model, recipe, out, fresh, listen, options)
    return distilled


def export(
    model: str | Path,
    *,
    recipe: str | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    listen: Listener = silent,
    **options: Any,
) -> "Exports":
    """Run as far as the ONNX files; as `compress` otherwise."""
    exports: Exports = _run("export", model, recipe, out, fresh, listen, options)
    return exports


def quantize(
    model: str | Path,
    *,
    recipe: str | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    listen: Listener = silent,
    **options: Any,
) -> "Quantized":
    """Run as far as the candidates; as `compress` otherwise."""
    quantized: Quantized = _run("quantize", model, recipe, out, fresh, listen, options)
    return quantized


def run_until(
    stage: str, plan: Recipe, *, out: Path | None, fresh: bool, listen: Listener, command: str
) -> tuple[Path, Any]:
    """Run the plan as far as `stage`, or wholly for "compress"; return the run folder and what that found.

    `command` is the command line that does the same; the report of a whole run shows it.
    """
    require_torch()
    from edgekd import pipeline

    if stage == "compress":
        return pipeline.run_compress(plan, out=out, fresh=fresh, command=command, listen=listen)
    found: tuple[Path, Any] = getattr(pipeline, f"run_{stage}")(plan, out=out, fresh=fresh, listen=listen)
    return found


def command_line(
    stage: str, model: str | Path, *, recipe: str | None, out: str | Path | None, fresh: bool, options: dict[str, Any]
) -> str:
    """Return the command that does the same as a call with these keywords."""
    plan = make_recipe(recipe, model=str(model), **options)
    words = ["edgekd", stage, str(model)]
    words += ["--recipe", recipe] if recipe else []
    words += ["--out", str(out)] if out else []
    words += ["--fresh"] if fresh else []
    words += option_words({name: getattr(plan, name) for name, given in options.items() if given not in (None, ())})
    return shlex.join(words)


def _run(
    stage: str,
    model: str | Path,
    recipe: str | None,
    out: str | Path | None,
    fresh: bool,
    listen: Listener,
    options: dict[str, Any],
) -> Any:
    plan = make_recipe(recipe, model=str(model), **options)
    command = command_line(stage, model, recipe=recipe, out=out, fresh=fresh, options=options)
    folder = None if out is None else Path(out)
    return run_until(stage, plan, out=folder, fresh=fresh, listen=listen, command=command)[1]


def require_torch() -> None:
    """Refuse to compress where the extra that it needs is not installed. Raises UsageError."""
    if importlib.util.find_spec("torch") is None:
        raise UsageError(
            "Compressing needs torch and friends, which are not installed; run: pip install 'edgekd[compress]'"
        )
