"""Is the rebuilt module the program it came from, for any batch size? Found out by running both."""

from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, TensorArgument

from edgekd.errors import BadInput, reason_of
from edgekd.formats.batch import frozen_batch

TOLERANCE = 1e-4
"""Largest difference allowed, relative to the largest output (at least 1): other kernels and orders of summation."""
BATCHES = (1, 2, 5)


def example_inputs(program: ExportedProgram) -> tuple[torch.Tensor, ...]:
    """Return the tensors the program was exported with, or seeded random ones of their shapes, in graph order."""
    nodes = {node.name: node for node in program.graph.nodes}
    user = [spec.arg for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT]
    generator = torch.Generator().manual_seed(0)
    if program.example_inputs is not None:
        flat = torch.utils._pytree.tree_leaves(program.example_inputs)
        tensors = [value.detach() for value in flat if isinstance(value, torch.Tensor)]
        return tuple(value.float() if value.is_floating_point() else value for value in tensors)
    made = []
    for value in (nodes[arg.name].meta["val"] for arg in user if isinstance(arg, TensorArgument)):
        shape = [int(size) if isinstance(size, int) else 2 for size in value.shape]
        made.append(
            torch.randn(shape, generator=generator)
            if value.dtype.is_floating_point
            else torch.zeros(shape, dtype=value.dtype)
        )
    return tuple(made)


def run(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """Return the tensors that a module gives, in order, whatever they are nested in."""
    with torch.no_grad():
        result: Any = module(*inputs)
    return [value for value in torch.utils._pytree.tree_leaves(result) if isinstance(value, torch.Tensor)]


def check_parity(
    path: Path, rebuilt: nn.Module, reference: list[torch.Tensor], inputs: tuple[torch.Tensor, ...]
) -> None:
    """Compare with what the program itself gave on the same inputs.

    Raises:
        BadInput: an output differs by more than TOLERANCE, or is not finite.
    """
    results = run(rebuilt, inputs)
    if not all(bool(torch.isfinite(value).all()) for value in reference):
        raise BadInput(f"{path}: the program's own output is not finite; its weights are damaged or untrained")
    worst = max((difference(one, two) for one, two in zip(results, reference, strict=True)), default=0.0)
    if not worst <= TOLERANCE:
        raise BadInput(
            f"{path}: the rebuilt module differs from the program by {worst:.2g} of its output, so it is not used; "
            f"give the weights as a state dict with --arch instead"
        )


def check_batches(path: Path, rebuilt: fx.GraphModule, inputs: tuple[torch.Tensor, ...], name: str) -> None:
    """Each row of a batch must give what it gives alone, for batches of 1, 2 and 5.

    Raises:
        BadInput: the export froze the batch size for good; the sentence holds the line that mends it.
    """
    rows = _rows(inputs, max(BATCHES))
    try:
        alone = [run(rebuilt, tuple(value[index : index + 1] for value in rows)) for index in range(max(BATCHES))]
        joined = {size: run(rebuilt, tuple(value[:size] for value in rows)) for size in BATCHES[1:]}
    except Exception as error:  # every operator fails with its own kind of exception
        reason = reason_of(error, 120)
        raise frozen_batch(path, name, reason) from error
    for size, outputs in joined.items():
        for index, output in enumerate(outputs):
            single = [values[index] for values in alone[:size]]
            same_rank = output.ndim > 0 and output.shape[0] == size
            if not same_rank or not difference(output, torch.cat(single)) <= TOLERANCE:
                raise frozen_batch(path, name, f"a batch of {size} gives other results than its rows alone")


def difference(one: torch.Tensor, two: torch.Tensor) -> float:
    """Largest absolute difference over the larger of 1 and the largest absolute value; infinite for other shapes."""
    if one.shape != two.shape:
        return float("inf")
    if not one.numel():
        return 0.0
    first, second = one.double(), two.double()
    return float((first - second).abs().max() / second.abs().max().clamp(min=1.0))


def _rows(inputs: tuple[torch.Tensor, ...], count: int) -> tuple[torch.Tensor, ...]:
    """`count` different rows shaped as the examples: noise of their spread around the first, integers as they are."""
    generator = torch.Generator().manual_seed(1)
    made = []
    for value in inputs:
        row = value[:1].expand(count, *value.shape[1:])
        if value.is_floating_point():
            spread = value.std(correction=0).clamp(min=0.1) if value.numel() > 1 else 1.0
            row = row + spread * torch.randn(row.shape, generator=generator)
        made.append(row.contiguous())
    return tuple(made)
