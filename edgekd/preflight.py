"""What can be refused before anything is read, decoded or trained: names and texts in the plan that mean nothing."""

from collections.abc import Collection
from pathlib import Path

from edgekd.budget import parse_budgets
from edgekd.errors import BadInput, UsageError, did_you_mean
from edgekd.recipe import Recipe, code_file
from edgekd.runtimes import RUNTIMES
from edgekd.schemes.table import SCHEMES


def check_plan(plan: Recipe) -> None:
    """Check every name and path of the plan that can be checked without opening the model.

    Raises:
        UsageError: an unknown scheme or runtime, an unreadable budget.
        BadInput: a file that is not there, or a student that needs images where there are none.
    """
    parse_budgets(plan.budget)
    scheme_names(plan.schemes)
    runtime_names(plan.runtimes)
    for option, value in (("model", plan.model), ("--data", plan.data), ("--classes", plan.classes)):
        path = code_file(value) or value
        if path is not None and not Path(path).exists():
            raise BadInput(f"There is no {option} {path}; check the path.")
    if plan.student not in (None, "none") and plan.data is None:
        raise BadInput(f"--student {plan.student} needs images to train on; give --data, or take --student none.")


def scheme_names(text: str) -> tuple[str, ...]:
    """The schemes that `--schemes a,b` names; fp32, the baseline of all others, always competes."""
    return _names(text, "scheme", SCHEMES, always="fp32")


def runtime_names(text: str) -> tuple[str, ...]:
    """The runtimes that `--runtimes a,b` names; onnxruntime, in which the baseline runs, always competes."""
    return _names(text, "runtime", RUNTIMES, always="onnxruntime")


def _names(text: str, kind: str, known: Collection[str], *, always: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys([always, *(part.strip() for part in text.split(",") if part.strip())]))
    unknown = next((name for name in names if name not in known), None)
    if unknown:
        raise UsageError(f"There is no {kind} {unknown!r}{did_you_mean(unknown, known)}")
    return names
