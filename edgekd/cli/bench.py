"""Time and weigh an ONNX file, or the artifact of a run, in a fresh process, or count it on an emulated core.

\b
Examples:
  edgekd bench model.onnx
  edgekd bench model.onnx --runtime openvino --threads 4 --json
  edgekd bench runs/model-raspberry-pi-5-1a2b3c4d
  edgekd bench model.onnx --on emulate:cortex-a76
"""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgekd.cli.console import make_listener
from edgekd.cli.tables import console, print_json, table
from edgekd.rendering.text import BRACKETS, clean, spoken

if TYPE_CHECKING:
    from edgekd.places.bench_file import BenchResult


def command(
    model: Path = typer.Argument(help="ONNX file, artifact or run folder."),
    on: str = typer.Option("host", "--on", help="Place to run on: host, or emulate:CORE[@VERSION of onnxruntime]."),
    runtime: str = typer.Option("onnxruntime", help="onnxruntime or openvino."),
    threads: int = typer.Option(1, min=1, help="Threads of one inference."),
    min_runs: int = typer.Option(50, min=1, help="At least this many runs."),
    seconds: float = typer.Option(2.0, min=0.0, help="And at least this long."),
    as_json: bool = typer.Option(False, "--json", help="Print exactly one JSON object on stdout."),
) -> None:
    """Print latency and memory, or what an emulated core executes."""
    from edgekd.api import bench

    make_listener(quiet=as_json, verbose=False)
    result = bench(model, on=on, runtime=runtime, threads=threads, min_runs=min_runs, seconds=seconds)
    if as_json:
        return print_json(result.model_dump(mode="json", by_alias=True))
    if result.instructions is not None:
        return _print_instructions(result)
    out = console()
    assert result.latency is not None and result.memory is not None  # a real machine has them
    latency = table(f"latency by {runtime}", "")
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
