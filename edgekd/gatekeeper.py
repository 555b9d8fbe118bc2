"""The CI command: what a run or a model costs held against budgets and a baseline, as a verdict and an exit code."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from edgekd.budget import Budget, judge, load_time, parse_budgets
from edgekd.device import HOST, device_name
from edgekd.errors import BadInput, UsageError
from edgekd.figures import Figures
from edgekd.gate_result import GATE_EXIT_CODES, Baseline, GateResult, GateVerdict
from edgekd.project_file import read_project, settle
from edgekd.regression.baseline import How, compare_builds
from edgekd.regression.build import Build, open_build
from edgekd.regression.signals import figures_of_file
from edgekd.rendering.junit import render_junit
from edgekd.results import BudgetOutcome
from edgekd.results_file import RESULTS, first_fault, read_report
from edgekd.workspace import write_atomic

__all__ = ["RESULTS", "gate", "read_report"]


def gate(
    run: Path,
    *,
    budget: Sequence[str] = (),
    warn: Sequence[str] = (),
    baseline: Path | None = None,
    target: str | None = None,
    on: str = HOST,
    timing: bool = True,
    emulate: bool = False,
    retrained: bool = False,
    allow_estimate: bool | None = None,
    junit: Path | None = None,
) -> GateResult:
    """Judge a run folder, a results.json, an artifact or an ONNX file by budgets, and hold it against a baseline.

    A limit of `budget` or `warn` wins over one of `edgekd.yaml` for the same metric, and that over the run's own. With
    a `baseline`, what both have is compared, and where both have a model file they are timed side by side on the place
    `on`, unless `timing` is False; `emulate` also counts the instructions of both on the target's core. `retrained`
    allows a baseline that was made from another model file. `target` is for ONNX files, which name none, and for runs
    whose profile was given as a file. `allow_estimate` None means as the run itself was told. `junit` names a file to
    write, whole or not at all.

    Raises:
        UsageError: a limit that is none, or a target that is not the run's.
        BadInput: there are no results, they are broken, nothing shipped, or the baseline is of another model.
        PlaceLost: the place to time on, or what emulation needs, is not there.
    """
    build, against = open_build(run), open_build(baseline) if baseline is not None else None
    device = _target(build, against, target)
    allowed = allow_estimate if allow_estimate is not None else _was_allowed(build)
    limits = {(one.metric, one.severity): one for one in _limits(build, budget, warn, device)}
    figures = build.figures or (figures_of_file(build.model, target or device) if build.model else Figures())
    outcomes = judge(
        limits.values(),
        figures,
        build.report.models.get("teacher") if build.report else None,
        target=device,
        allow_estimate=allowed,
        load_ms=load_time(figures),
    )
    how = How(target or device, on=on, timing=timing, emulate=emulate, allow_estimate=allowed, retrained=retrained)
    compared = compare_builds(against, build, how) if against else None
    found, reason = _conclude(outcomes, compared)
    result = GateResult(
        schema=1,
        verdict=found,
        exit_code=GATE_EXIT_CODES[found],
        reason=reason,
        target=device,
        run=str(run),
        outcomes=outcomes,
        baseline=compared,
    )
    if junit is not None:
        _write(junit, render_junit(outcomes, compared, target=device, subject=str(run), verdict=found))
    return result


def _target(build: Build, baseline: Build | None, given: str | None) -> str:
    """The device that decides: the run's own, else the one given, else the baseline's, else this machine."""
    named = device_name(given) if given else None
    if build.target and named and named != build.target:
        raise UsageError(f"{build.name} was made for {build.target}, not for {named}; leave out --target.")
    return build.target or named or (baseline.target if baseline else None) or HOST


def _was_allowed(build: Build) -> bool:
    return build.report is not None and build.report.recipe.get("allow_estimate") is True


def _limits(build: Build, budget: Sequence[str], warn: Sequence[str], target: str) -> Iterable[Budget]:
    """The run's own limits, then the project's, then those given: the last for a metric and severity counts."""
    try:
        for outcome in build.report.budgets if build.report else ():
            yield Budget.model_validate(outcome.model_dump(include=set(Budget.model_fields)))
    except ValidationError as error:
        fault = first_fault(error)
        raise BadInput(f"{build.name}: 'budgets' {fault}; write the run anew with edgekd compress.") from None
    project = read_project()
    yield from parse_budgets(settle((project.budget, budget), target))
    yield from parse_budgets(settle((project.warn, warn), target), severity="warn")


def _conclude(outcomes: Sequence[BudgetOutcome], baseline: Baseline | None) -> tuple[GateVerdict, str]:
    """The worst that was found among what does not only warn, and a sentence that names all of it."""
    comparisons = [one for one in baseline.comparisons if one.severity == "error"] if baseline else []
    judged: list[tuple[str, str]] = [(one.metric, one.verdict) for one in outcomes if one.severity == "error"]
    judged += [(one.metric, one.verdict) for one in comparisons]
    found = {word: [metric for metric, verdict in judged if verdict == word] for word in _SAID}
    if baseline and not comparisons:
        found["inconclusive"].append("nothing could be compared with the baseline")
    said = [f"{_SAID[word]}: {', '.join(names)}" for word, names in found.items() if names]
    decided: GateVerdict = next((word for word, names in found.items() if names), "pass")
    return decided, "; ".join(said) or _nothing_wrong(outcomes, baseline)


def _nothing_wrong(outcomes: Sequence[BudgetOutcome], baseline: Baseline | None) -> str:
    warned = sum(one.severity == "warn" and one.verdict not in ("pass", "improvement") for one in outcomes)
    budgets = f"{len(outcomes)} budget{'s' * (len(outcomes) != 1)}" if outcomes else "no budget was set"
    met = f"{budgets}, of which {warned} only warn{'s' * (warned == 1)}" if warned else budgets
    if baseline is None:
        return met
    compared = len(baseline.comparisons)
    return f"{met}; nothing worse than the baseline in {compared} figure{'s' * (compared != 1)}"


def _write(file: Path, text: str) -> None:
    """Write a file under its final name only when it is whole. Raises BadInput where that cannot be."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, text.encode())
    except OSError as error:
        raise BadInput(
            f"{file} cannot be written ({error.strerror}); choose another place or free some space."
        ) from None


_SAID: dict[GateVerdict, str] = {
    "missed": "over the budget",
    "regression": "worse than the baseline",
    "inconclusive": "not decided",
}
"""How each verdict is said, the worst first."""
