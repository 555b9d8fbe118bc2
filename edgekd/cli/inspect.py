"""Say what a file is and whether it is safe to load, and for ONNX what it computes and who could run it.

\b
Example:
  edgekd inspect model.pt
"""

from pathlib import Path

import typer

from edgekd.cli.tables import console, print_json, table
from edgekd.rendering.text import clean


def command(
    file: Path = typer.Argument(help="Any model file; nothing in it is executed."),
    as_json: bool = typer.Option(False, "--json", help="Print exactly one JSON object on stdout."),
) -> None:
    """Print what the file is."""
    from edgekd.api import inspect

    found = inspect(file)
    if as_json:
        return print_json({"schema": 1, **found.model_dump(mode="json")})
    rows = table("", "")
    rows.columns[1].justify = "left"
    for key, value in found.file:
        shown = "; ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
        rows.add_row(key, clean(shown, longest=300))
    if found.onnx:
        facts = found.onnx
        for role, tensors in (("input", facts.inputs), ("output", facts.outputs)):
            for tensor in tensors:
                rows.add_row(
                    role,
                    clean(
                        f"{tensor.name}: {tensor.dtype} {'any shape' if tensor.shape is None else list(tensor.shape)}",
                        longest=200,
                    ),
                )
        rows.add_row("opset, IR", f"{facts.opset}, {facts.ir_version}")
        rows.add_row("MACs", "known only when it runs" if facts.macs is None else f"{facts.macs:,}")
        rows.add_row("parameters", f"{facts.params:,}")
        rows.add_row("operators", clean(", ".join(f"{n} {k}" for k, n in facts.operators.items()), longest=400))
        rows.add_row("loads on", ", ".join(facts.loads_on) or "none of the profiles")
        if facts.too_new_for:
            rows.add_row("too new for", ", ".join(facts.too_new_for))
    console().print(rows)
