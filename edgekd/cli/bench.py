"""Time and weigh an ONNX file, or the artifact of a run: on this machine, on boards, or counted on an emulated core.

\b
Examples:
  edgekd bench model.onnx
  edgekd bench model.onnx --runtime openvino --threads 4 --json
  edgekd bench runs/model-raspberry-pi-5-1a2b3c4d
  edgekd bench model.onnx --on ssh://pi@raspberrypi.local
  edgekd bench model.onnx --on host --on ssh://pi@10.0.0.7/home/pi/venv/bin/python --on adb://0123456789
  edgekd bench model.onnx --on emulate:cortex-a76
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
    on: list[str] = typer.Option(
        ["host"], "--on", help="Place: host, ssh://, adb:// or emulate:CORE[@VERSION]; may be repeated."
    ),
    runtime: str = typer.Option("onnxruntime", help="onnxruntime or openvino."),
    threads: int = typer.Option(1, min=1, help="Threads of one inference."),
    min_runs: int = typer.Option(50, min=1, help="At least this many runs."),
    seconds: float = typer.Option(2.0, min=0.0, help="And at least this long."),
    as_json: bool = typer.Option(False, "--json", help="Print exactly one JSON object on stdout."),
) -> None:
    """Print latency and memory, or instructions; of several places a row each, and the worst of their exit codes."""
    from edgekd.api import bench, bench_table

    make_listener(quiet=as_json, verbose=False)
    options: dict[str, Any] = {"runtime": runtime, "threads": threads, "min_runs": min_runs, "seconds": seconds}
    if len(on) > 1:
        found = bench_table(model, on=on, **options)
        print_json(found.model_dump(mode="json", by_alias=True)) if as_json else _print_table(found)
        raise typer.Exit(found.exit_code)
    result = bench(model, on=on[0], **options)
    if as_json:
        print_json(result.model_dump(mode="json", by_alias=True))
    elif result.instructions is not None:
        _print_instructions(result)
    else:
        _print_times(result)


def _print_table(found: "BenchTable") -> None:
    rows = table("place", "p50", "p95", "load", "peak RSS", "instructions")
    for row in found.places:
        rows.add_row(clean(row.place), *_cells(row.result))
    out = console()
    out.print(rows)
    out.print(f"Times and memory are measured on their place, instructions are emulated. {BRACKETS}")
    for row in found.places:
        for line in row.result.environment["disturbed"] if row.result else ():
            out.print(f"disturbed: {clean(row.place)}: {clean(line, longest=200)}")
        if row.error:
            out.print(f"failed: {clean(row.error, longest=300)}")


def _cells(result: "BenchResult | None") -> tuple[str, ...]:
    if result is None:
        return ("failed",)
    if result.latency is None or result.memory is None:
        count = result.instructions.by_class.total if result.instructions else 0
        return "", "", "", "", f"{count / 1e6:,.1f} M"
    latency, peak = result.latency, f"{result.memory.steady_kib / 1024:.1f} MiB"
    return figure(latency.p50_ms), figure(latency.p95_ms), f"{result.load_ms:.1f} ms", peak, ""


def _print_times(result: "BenchResult") -> None:
    assert result.latency is not None and result.memory is not None  # a real machine has them
    threads = result.environment["threads"]
    out = console()
    latency = table(f"latency by {result.environment['runtime']}", "")
    for name, number in result.latency:
        latency.add_row(name.removesuffix("_ms"), f"{spoken(number)} with {threads} thread{'s' * (threads > 1)}")
    out.print(latency)
    out.print(BRACKETS)
    out.print(f"\nload {result.load_ms:.1f} ms, first run {result.first_ms:.2f} ms, {result.latency.p50_ms.n} runs\n")
    memory = table(f"peak RSS of {clean(result.environment['program'])} after", "")
    for name, kib in result.memory:
        memory.add_row(name.removesuffix("_kib"), f"{kib / 1024:.1f} MiB")
    out.print(memory)
    for line in result.environment["disturbed"]:
        out.print(f"disturbed: {clean(line, longest=200)}")


def _print_instructions(result: "BenchResult") -> None:
    """Instructions by class and by operator, in millions: an emulator's times would say nothing."""
    found = result.instructions
    assert found is not None
    out = console()
    classes = table("million instructions per inference, emulated", "")
    for name, number in found.by_class:
        classes.add_row(name.replace("_", " "), f"{number / 1e6:,.3f}")
    out.print(classes)
    out.print()
    operators = table("operator", "million instructions", "share")
    for name, one in found.by_operator.items():
        share = one.total / max(1, found.by_class.total)
        operators.add_row(clean(name), f"{one.total / 1e6:,.3f}", f"{share:.1%}")
    out.print(operators)
    how = result.environment
    out.print(
        f"\nonnxruntime {how['runtime_version']} on {how['core']}, QEMU {how['qemu']}, {how['threads']} thread"
        f"{'s' * (how['threads'] > 1)}; outputs differ from this machine's by at most "
        f"{found.difference_from_host:.1e} of the largest; no latency, for an emulator's times say nothing",
        soft_wrap=True,
    )
    if found.note:
        out.print(clean(found.note, longest=300), soft_wrap=True)
