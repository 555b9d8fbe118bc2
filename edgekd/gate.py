"""The CI command: a finished run's results held against budgets, as a verdict, an exit code and JUnit."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from edgekd.budget import Budget, judge, load_time, verdict
from edgekd.errors import BadInput
from edgekd.gate_result import GateResult
from edgekd.rendering.junit import render_junit
from edgekd.results import EXIT_CODES, Report
from edgekd.workspace import write_atomic

RESULTS = Path("report") / "results.json"


def gate(
    run: Path, *, budgets: Iterable[Budget] = (), allow_estimate: bool | None = None, junit: Path | None = None
) -> GateResult:
    """Judge a run folder, or a results.json, by the run's own budgets and by `budgets`, which win for the same metric.

    `allow_estimate` None means as the run itself was told. `junit` names a file to write, whole or not at all.

    Raises:
        BadInput: there are no results, they do not hold what results.json must, or no model shipped.
    """
    report = read_report(run)
    shipped = report.models.get("shipped")
    if shipped is None:
        raise BadInput(f"{run}: 'models.shipped' is null, so nothing was shipped; finish the run with --resume first.")
    try:
        stored = {
            o.metric: Budget.model_validate(o.model_dump(include=set(Budget.model_fields))) for o in report.budgets
        }
    except ValidationError as error:
        raise BadInput(f"{run}: 'budgets' {_first(error)}; write the run anew with edgekd compress.") from None
    merged = stored | {budget.metric: budget for budget in budgets}
    if allow_estimate is None:
        allow_estimate = report.recipe.get("allow_estimate") is True
    outcomes = judge(
        merged.values(),
        shipped,
        report.models.get("teacher"),
        target=report.target,
        allow_estimate=allow_estimate,
        load_ms=load_time(shipped),
    )
    found = verdict(outcomes)
    if junit is not None:
        _write(junit, render_junit(outcomes, target=report.target, subject=str(run), verdict=found))
    return GateResult(
        schema=1,
        verdict=found,
        exit_code=EXIT_CODES[found],
        reason="",
        target=report.target,
        run=str(run),
        outcomes=outcomes,
    )


def read_report(run: Path) -> Report:
    """Read RUN/report/results.json, or `run` itself where it is a file. Raises BadInput naming the file and the key."""
    file = run / RESULTS if run.is_dir() else run
    if not run.exists():
        raise BadInput(f"{run} does not exist; name a run folder that edgekd compress wrote.")
    if not file.is_file():
        raise BadInput(f"{run} holds no {RESULTS.as_posix()}; finish the run with --resume first.")
    try:
        return Report.model_validate_json(file.read_bytes(), strict=True)
    except ValidationError as error:
        raise BadInput(f"{file}: {_first(error)}; write the run anew with edgekd compress.") from None
    except OSError as error:
        raise BadInput(f"{file} cannot be read ({error.strerror}): check its permissions") from None


def _first(error: ValidationError) -> str:
    """Say the first thing that is wrong: the key, then what pydantic expected there."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    key = ".".join(str(part) for part in fault["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{key[:80]!r} {fault['msg'][:1].lower()}{fault['msg'][1:200]}{more}"


def _write(file: Path, text: str) -> None:
    """Write a file under its final name only when it is whole. Raises BadInput where that cannot be."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, text.encode())
    except OSError as error:
        raise BadInput(
            f"{file} cannot be written ({error.strerror}); choose another place or free some space."
        ) from None
