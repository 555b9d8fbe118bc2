"""Judge a run against budgets; for CI. The exit code is the verdict; on GitHub the job's summary shows it too.

\b
Examples:
  edgekd gate runs/model-raspberry-pi-5-1a2b3c4d
  edgekd gate runs/model --budget latency=30ms --budget drop=1% --junit gate.xml
"""

import os
import sys
from pathlib import Path

import typer

from edgekd.cli.tables import budget_line, console, print_json
from edgekd.errors import BadInput
from edgekd.gate_result import GateResult
from edgekd.rendering.github import annotations, summary
from edgekd.rendering.text import clean


def command(
    run: Path = typer.Argument(help="Run folder, or a results.json."),
    budget: list[str] = typer.Option([], help="Limit such as latency=30ms; replaces the run's own of that metric."),
    allow_estimate: bool | None = typer.Option(None, "--allow-estimate/--no-allow-estimate", help="Estimates decide."),
    junit: Path | None = typer.Option(None, help="Write a JUnit XML file."),
    as_json: bool = typer.Option(False, "--json", help="Print exactly one JSON object on stdout."),
) -> None:
    """Print every budget with its figure, and exit 0, 1 or 5."""
    from edgekd.api import gate

    result = gate(run, budget=budget, allow_estimate=allow_estimate, junit=junit)
    tell_github(result)
    if as_json:
        print_json(result.model_dump(mode="json", by_alias=True))
    else:
        out = console()
        for outcome in result.outcomes:
            out.print(budget_line(outcome), soft_wrap=True)
        judged = f"{len(result.outcomes)} budget{'s' * (len(result.outcomes) != 1)}"
        out.print(f"{result.verdict}: {judged} on {clean(result.target)}")
    raise typer.Exit(result.exit_code)


def tell_github(result: GateResult) -> None:
    """In a job on GitHub, annotate the commit and add to the summary of the job.

    The runner reads commands from stderr too, so stdout stays the result. Raises BadInput where the summary cannot be
    written.
    """
    if os.environ.get("GITHUB_ACTIONS") == "true":
        sys.stderr.write("".join(f"{line}\n" for line in annotations(result)))
    if file := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(file).open("a", encoding="utf-8") as job:
                job.write(summary(result))
        except OSError as error:
            raise BadInput(f"{file}, named by GITHUB_STEP_SUMMARY, cannot be written ({error.strerror}).") from None
