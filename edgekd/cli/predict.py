"""Estimate latency and memory of an ONNX file on devices you do not have, in about a second.

\b
Examples:
  edgekd predict model.onnx
  edgekd predict model.onnx --target raspberry-pi-4 --threads 1 --json
  edgekd predict model.onnx --target raspberry-pi-5 --emulate
"""

from pathlib import Path

import typer
from rich.markup import escape

from edgekd.cli.tables import console, print_json, table
from edgekd.rendering.text import BRACKETS, clean, figure


def command(
    model: Path = typer.Argument(help="ONNX file, artifact or run folder."),
    target: str = typer.Option("all", help="Device, or all."),
    threads: int | None = typer.Option(None, min=1, help=escape("Threads [default: the profile's].")),
    emulate: bool = typer.Option(
        False, help="Count the instructions of the device's own runtime under emulation, instead of expecting them."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print exactly one JSON object on stdout."),
) -> None:
    """Print one line per device; every figure here is an estimate with its interval, or has emulated instructions."""
    from edgekd.api import predict

    found = predict(model, target=target, threads=threads, emulate=emulate)
    if as_json:
        return print_json(found.model_dump(mode="json", by_alias=True))
    rows = table("device", "threads", "latency", "peak memory")
    for one in found.predictions:
        latency = clean(one.error, longest=200) if one.error else figure(one.latency_ms)
        rows.add_row(one.target, str(one.threads), latency, figure(one.peak_memory_kib))
    out = console()
    out.print(rows)
    how = " or ".join(dict.fromkeys(f"{one.precision} by {one.runtime}" for one in found.predictions))
    latency = "latency from emulated instructions, memory estimated" if emulate else "every figure is estimated"
    out.print(f"{how}, one input at a time; {latency}. {BRACKETS}")
    for note in found.notes:
        out.print(clean(note, longest=200))
