"""Time and weigh an ONNX file, or the artifact of a run, in a fresh process on this machine or on boards.

\b
Examples:
  edgekd bench model.onnx
  edgekd bench model.onnx --runtime openvino --threads 4 --json
  edgekd bench runs/model-raspberry-pi-5-1a2b3c4d
  edgekd bench model.onnx --on ssh://pi@raspberrypi.local
  edgekd bench model.onnx --on host --on ssh://pi@10.0.0.7/home/pi/venv/bin/python --on adb://0123456789
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgekd.cli.console import make_listener
from edgekd.cli.tables import console, print_json, table
from edgekd.rendering.text import BRACKETS, clean, figure, spoken

if TYPE_CHECKING:
    from edgekd.places.bench_file import BenchResult, BenchTable


def command(
    model: Path = typer.Argument(help="ONNX file, artifact or run folder."),
    on: list[str] = typer.Option(["host"], "--on", help="Place to run on; may be repeated."),
    runtime: str = typer.Option("onnxruntime", help="onnxruntime or openvino."),
    threads: int = typer.Option(1, min=1, help="Threads of one inference."),
    min_runs: int = typer.Option(50, min=1, help="At least this many runs."),
    seconds: float = typer.Option(2.0, min=0.0, help="And at least this long."),
    as_json: bool = typer.Option(False, "--json", help="Print exactly one JSON object on stdout."),
) -> None:
    """Print latency and memory; of several places a row each, and the worst of their exit codes."""
    from edgekd.api import bench, bench_table

    make_listener(quiet=False, verbose=False)
    options: dict[str, Any] = {"runtime": runtime, "threads": threads, "min_runs": min_runs, "seconds": seconds}
    if len(on) > 1:
        found = bench_table(model, on=on, **options)
        print_json(found.model_dump(mode="json", by_alias=True)) if as_json else _table(found)
        raise typer.Exit(found.exit_code)
    result = bench(model, on=on[0], **options)
    print_json(result.model_dump(mode="json", by_alias=True)) if as_json else _one(result)


def _table(found: "BenchTable") -> None:
    rows = table("place", "p50", "p95", "load", "peak RSS")
    for row in found.places:
        if row.result is None:
            rows.add_row(clean(row.place), "failed")
            continue
        one = row.result
        peak = f"{one.memory.steady_kib / 1024:.1f} MiB"
        rows.add_row(
            clean(row.place), figure(one.latency.p50_ms), figure(one.latency.p95_ms), f"{one.load_ms:.1f} ms", peak
        )
    out = console()
    out.print(rows)
    out.print(f"Every figure was measured on its place. {BRACKETS}")
    for row in found.places:
        for line in row.result.environment["disturbed"] if row.result else ():
            out.print(f"disturbed: {clean(row.place)}: {clean(line, longest=200)}")
        if row.error:
            out.print(f"failed: {clean(row.error, longest=300)}")


def _one(result: "BenchResult") -> None:
    threads = result.environment["threads"]
    out = console()
    latency = table(f"latency by {result.environment['runtime']}", "")
    for name, number in result.latency:
        latency.add_row(name.removesuffix("_ms"), f"{spoken(number)} with {threads} thread{'s' * (threads > 1)}")
    out.print(latency)
    out.print(BRACKETS)
    out.print(f"\nload {result.load_ms:.1f} ms, first run {result.first_ms:.2f} ms, {result.latency.p50_ms.n} runs\n")
    memory = table("peak RSS after", "")
    for name, kib in result.memory:
        memory.add_row(name.removesuffix("_kib"), f"{kib / 1024:.1f} MiB")
    out.print(memory)
    for line in result.environment["disturbed"]:
        out.print(f"disturbed: {clean(line, longest=200)}")
