"""`edgekd.yaml`: the limits of a project, and which of all limits given hold for one device."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from edgekd.budget import parse_budgets
from edgekd.device import device_name
from edgekd.errors import BadInput, UsageError, did_you_mean
from edgekd.record import Record

PROJECT_FILE = Path("edgekd.yaml")
_MOST_BYTES = 2**20


class Project(Record):
    """Limits as `parse_budget` reads them: `budget` fails a run, `warn` is only said."""

    budget: tuple[str, ...] = ()
    warn: tuple[str, ...] = ()


def read_project(path: Path = PROJECT_FILE) -> Project:
    """Read the project's limits from the working directory; there are none where there is no such file.

    Raises:
        BadInput: the file is no YAML, has another key, or a limit that is none.
    """
    if not path.is_file():
        return Project()
    values = read_mapping(path)
    unknown = next((key for key in values if key not in Project.model_fields), None)
    if unknown is not None:
        hint = did_you_mean(str(unknown)[:40], Project.model_fields)
        raise BadInput(f"{path} may hold only `budget:` and `warn:`, not {str(unknown)[:40]!r}{hint}")
    limits = {key: _texts(path, key, value) for key, value in values.items()}
    check_limits(path, limits)
    return Project(**limits)


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file of `key: value` lines. Raises BadInput where it is none."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise BadInput(f"The file {path} is larger than any recipe; check the path.")
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise BadInput(f"The file {path} cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise BadInput(f"The file {path} must hold `key: value` lines, one setting each.")
    return values


def check_limits(path: Path, values: Mapping[str, Iterable[str]]) -> None:
    """Read the limits that a file holds, for what is wrong with them. Raises BadInput that names the file."""
    try:
        budgets = [budget for kind in Project.model_fields for budget in parse_budgets(values.get(kind, ()))]
        for target in {budget.target for budget in budgets if budget.target}:
            device_name(target)
    except UsageError as error:
        raise BadInput(f"{path}: {error}") from None


def settle(sources: Iterable[Sequence[str]], target: str) -> tuple[str, ...]:
    """Return the limits that hold for a device, one for each metric, without the device's name.

    A later source wins over an earlier one; within one, what is for this device alone wins over what is for all.

    Raises:
        UsageError: a limit that is none, or is for a device that does not exist.
    """
    settled: dict[str, str] = {}
    for texts in sources:
        settled |= _of_target(texts, target)
    return tuple(settled.values())


def _of_target(texts: Sequence[str], target: str) -> dict[str, str]:
    """Metric to limit."""
    read = list(zip(parse_budgets(texts), texts, strict=True))
    for_all = {budget.metric: text for budget, text in read if budget.target is None}
    named = [(budget, text) for budget, text in read if budget.target]
    if not named:
        return {str(metric): text for metric, text in for_all.items()}
    mine = _name_of(target)
    alone = {b.metric: text.partition("@")[0].strip() for b, text in named if device_name(str(b.target)) == mine}
    return {str(metric): text for metric, text in (for_all | alone).items()}


def _name_of(target: str) -> str:
    """The device's name; a target of the user's own profile may be known to nobody else."""
    try:
        return device_name(target)
    except UsageError:
        return target


def _texts(path: Path, key: str, value: Any) -> tuple[str, ...]:
    entries = value if isinstance(value, list) else [value]
    if not all(isinstance(entry, str) for entry in entries):
        raise BadInput(f"{path}: {key} must be a list of limits, such as `{key}: [latency=30ms, size=2MiB]`.")
    return tuple(entries)
