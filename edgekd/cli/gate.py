"""Judge a run, an artifact or an ONNX file against budgets and a baseline; for CI. The exit code is the verdict; on
GitHub the job's summary shows it too.

\b
Examples:
  edgekd gate runs/model-raspberry-pi-5-1a2b3c4d
  edgekd gate runs/model --budget latency=30ms --warn size=2MiB
  edgekd gate runs/model --baseline main/report/results.json
  edgekd gate new.onnx --baseline old.onnx
  edgekd gate new.onnx --baseline old.onnx --target pi4 --emulate --no-timing

\b
Where both sides have a model file they are timed in turns on this machine,
and their graphs compared; scores come from runs and artifacts.
Exit code 0: all well; 1: a budget is missed, or a regression confirmed;
3: a broken file, or a baseline of another model; 5: not decided.
"""

import os
import sys
from pathlib import Path

import typer

from edgekd.cli.console import make_listener
from edgekd.cli.tables import budget_line, console, print_comparisons, print_json
from edgekd.errors import BadInput, EdgekdError
from edgekd.gate_result import GateResult
from edgekd.rendering.github import annotations, refusal, summary
from edgekd.rendering.text import clean


def command(
    run: Path = typer.Argument(help="Run folder, results.json, artifact or ONNX file."),
    budget: list[str] = typer.Option(
        [],
        help="Limit whose miss fails: latency=30ms, latency_p99=50ms, memory=64MiB, size=2MiB, load=1s, drop=1%; with "
        "@DEVICE for that device alone. Replaces the run's own of that metric.",
    ),
    warn: list[str] = typer.Option([], help="Limit, written like a --budget, whose miss is only said."),
    baseline: Path | None = typer.Option(None, help="Run folder, results.json, artifact or ONNX file to compare with."),
    on: str = typer.Option("host", "--on", help="Place to time both on: host, ssh:// or adb://."),
    timing: bool = typer.Option(True, "--timing/--no-timing", help="Time both in turns, or not."),
    emulate: bool = typer.Option(False, "--emulate", help="Count the instructions of both on the target's core."),
    retrained: bool = typer.Option(False, "--retrained", help="The baseline's model file is this one, trained anew."),
    target: str | None = typer.Option(None, help="Device, where neither names one; else host."),
    allow_estimate: bool | None = typer.Option(None, "--allow-estimate/--no-allow-estimate", help="Estimates decide."),
    junit: Path | None = typer.Option(None, help="Write a JUnit XML file."),
    as_json: bool = typer.Option(False, "--json", help="Print exactly one JSON object on stdout."),
) -> None:
    """Print every budget and comparison with its figures, then the verdict, and exit 0, 1 or 5."""
    from edgekd.api import gate

    make_listener(quiet=as_json, verbose=False)
    try:
        result = gate(
            run,
            budget=budget,
            warn=warn,
            baseline=baseline,
            target=target,
            on=on,
            timing=timing,
            emulate=emulate,
            retrained=retrained,
            allow_estimate=allow_estimate,
            junit=junit,
        )
    except EdgekdError as error:
        annotate(refusal(str(error)))
        raise
    annotate(*annotations(result))
    summarise(result)
    if as_json:
        print_json(result.model_dump(mode="json", by_alias=True))
        raise typer.Exit(result.exit_code)
    out = console()
    for outcome in result.outcomes:
        out.print(budget_line(outcome), soft_wrap=True)
    if result.baseline is not None:
        print_comparisons(out, result.baseline)
    out.print(f"{result.verdict}: {clean(result.reason, longest=300)}; on {clean(result.target)}", soft_wrap=True)
    raise typer.Exit(result.exit_code)


def annotate(*commands: str) -> None:
    """In a GitHub job, annotate the commit; its runner reads commands from stderr too, so stdout stays the result."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        sys.stderr.write("".join(f"{command}\n" for command in commands))


def summarise(result: GateResult) -> None:
    """Add to what a job on GitHub shows of itself. Raises BadInput where that cannot be written."""
    if file := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(file).open("a", encoding="utf-8") as job:
                job.write(summary(result))
        except OSError as error:
            raise BadInput(f"{file}, named by GITHUB_STEP_SUMMARY, cannot be written ({error.strerror}).") from None
