"""A module to one ONNX file: batch 1, static, inside the device's opset and IR ceiling, the same bytes every time.

PyTorch's exporter (torch.export, "dynamo") comes first; the TorchScript exporter takes over where that one fails and
for opsets below its floor, and the notes say so. Whatever comes out is checked, loaded, run and compared with the
module before it counts, so a graph that loads but computes something else is a failed attempt, not a result. One input
cannot show that a branch was frozen; `check_export` on many does.
"""

import contextlib
import ctypes
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxslim
import torch
from torch import nn

from edgekd.errors import BadInput
from edgekd.external_data import write_onnx
from edgekd.onnx_graph import canonical, opset_of, quietly, run_graph
from edgekd.parity import check_every_output
from edgekd.record import Record
from edgekd.results import Parity

log = logging.getLogger(__name__)

Exporter = Literal["dynamo", "torchscript"]

OPSET = 20
"""Written where the device allows it: the exporters' own default, and no operator of a classifier needs a newer one."""
DYNAMO_MIN_OPSET = 18
"""The dynamo exporter writes 18 and more; onnx's converter down from there has no way back for ReduceMean or Add."""


class Exported(Record):
    """An ONNX file as written; `notes` are the fallbacks taken on the way, in sentences."""

    file: str
    exporter: Exporter
    opset: int
    ir_version: int
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()


def export_onnx(
    module: nn.Module,
    example: torch.Tensor,
    path: Path,
    *,
    max_opset: int,
    max_ir: int,
    output: str = "logits",
    further: tuple[str, ...] = (),
) -> Exported:
    """Write `module` in evaluation mode as an ONNX file with "input" and the outputs that `output_names` says.

    Args:
        module: any module of one input, on the CPU; it is left in the mode it came in.
        example: one input as in training, float32 or int64 (1, ...); its shape and type become the graph's.
        path: the file; nothing is left under this name when the export fails.
        max_opset: highest opset that the device's runtime loads.
        max_ir: highest ONNX IR version that the device's runtime loads.
        output: "logits" for a classifier, "output" for other models.
        further: names of the other outputs, where there are as many.

    Raises:
        BadInput: no exporter takes the module, or what they make of it computes something else.
    """
    opset = min(max_opset, OPSET)
    with _evaluating(module):
        reference = module_outputs(module, example.numpy())
        names = output_names(len(reference), output, further)
        failures: list[str] = []
        for exporter, translate in EXPORTERS.items():
            if exporter == "dynamo" and opset < DYNAMO_MIN_OPSET:
                failures.append(f"it writes opset {DYNAMO_MIN_OPSET} and more, the device loads {opset}")
                continue
            try:
                with quietly():
                    raw = translate(module, example, opset, names)
                    graph, notes = _slimmed(canonical(raw, max_ir=max_ir), example.numpy(), reference, names)
                break
            except Exception as error:  # exporters raise anything
                failures.append(first_cause(error))
        else:
            raise BadInput(
                f"{path.name}: the model cannot be exported to ONNX opset {opset}: {failures[0]} (dynamo); "
                f"{failures[1]} (TorchScript); replace the operator or control flow that is named there."
            )
    if failures:
        notes = (f"exported by TorchScript, because dynamo does not: {failures[0]}", *notes)
    for note in notes:
        log.info("%s: %s", path.name, note)
    write_onnx(path, graph)
    return Exported(
        file=path.name,
        exporter=exporter,
        opset=opset_of(graph),
        ir_version=graph.ir_version,
        outputs=names,
        notes=notes,
    )


def module_outputs(module: nn.Module, inputs: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
    """Run a module as the exported graph is run, one input at a time, and return every output over all inputs.

    `inputs` are float32 or int64 (n, ...); each output is (n, ...). Outputs nested in tuples, lists or dictionaries
    come in the order in which the exporters number them.
    """
    with torch.no_grad():
        runs = [_tensors(module(torch.from_numpy(inputs[i : i + 1].copy()))) for i in range(len(inputs))]
    return tuple(np.concatenate([one.numpy() for one in output]) for output in zip(*runs, strict=True))


def check_export(
    module: nn.Module, path: Path, inputs: npt.NDArray[Any], names: tuple[str, ...] | None = None
) -> tuple[Parity, ...]:
    """Compare every output of an exported file with the module's, over all of `inputs`, one at a time.

    Args:
        module: the module in evaluation mode, on the CPU.
        path: what `export_onnx` or `adopt_onnx` wrote.
        inputs: at least 8, real ones where there are any; float32 or int64 (n, ...).
        names: the file's outputs where the module has more, of which these are the first.

    Raises:
        BadInput: an output is beyond the tolerance of `edgekd.parity.check_parity`.
    """
    reference = module_outputs(module, inputs)
    names = names or output_names(len(reference))
    reference, actual = reference[: len(names)], run_graph(path, inputs)
    return check_every_output(reference, actual, names=names, where=path.name)


def output_names(count: int, output: str = "logits", further: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Names of `count` outputs: "logits", "output_1", ... of a classifier; else "output", or "output_0", "output_1".

    Where `further` names all but the first, these are taken.
    """
    if count == 1 + len(further):
        return (output, *further)
    return (output if output == "logits" else f"{output}_0", *(f"output_{at}" for at in range(1, count)))


def first_cause(error: BaseException, limit: int = 240) -> str:
    """Say in one line what an error came from: the innermost cause, printable, shortened."""
    seen = {id(error)}
    while (inner := error.__cause__ or error.__context__) is not None and id(inner) not in seen:
        seen.add(id(inner))
        error = inner
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no message"]
    text = "".join(c if c.isprintable() else "?" for c in f"{type(error).__name__}: {lines[0]}").rstrip(" .")
    return text if len(text) <= limit else text[: limit - 3] + "..."


@contextlib.contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, submodule by submodule: a frozen batch norm inside a training module stays frozen after."""
    training = {one: one.training for one in module.modules()}
    try:
        for one in training:
            one.training = False
        yield
    finally:
        for one, flag in training.items():
            one.training = flag


def _tensors(output: Any) -> list[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        return [output]
    if isinstance(output, dict):
        output = output.values()
    return [tensor for part in output if part is not None for tensor in _tensors(part)]


def _dynamo(module: nn.Module, example: torch.Tensor, opset: int, names: tuple[str, ...]) -> onnx.ModelProto:
    program = torch.onnx.export(
        module,
        (example,),
        dynamo=True,
        input_names=["input"],
        output_names=list(names),
        opset_version=opset,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("the exporter returned nothing")
    return program.model_proto


def _torchscript(module: nn.Module, example: torch.Tensor, opset: int, names: tuple[str, ...]) -> onnx.ModelProto:
    written = io.BytesIO()
    with _native_stdout_dropped():
        torch.onnx.export(
            module,
            (example,),
            written,  # type: ignore[arg-type]  # a stream is taken, the annotation says paths only
            dynamo=False,
            input_names=["input"],
            output_names=list(names),
            opset_version=opset,
            verbose=False,
        )
    return onnx.load_model_from_string(written.getvalue())


@contextlib.contextmanager
def _native_stdout_dropped() -> Iterator[None]:
    """The TorchScript exporter prints the graph from C++ before it raises; stdout belongs to results."""
    if sys.__stdout__ is not None:
        sys.__stdout__.flush()
    kept = os.dup(1)
    with open(os.devnull, "wb") as sink:
        os.dup2(sink.fileno(), 1)
    try:
        yield
    finally:
        if os.name == "posix":
            ctypes.CDLL(None).fflush(None)  # what C++ still holds would come out later
        os.dup2(kept, 1)
        os.close(kept)


def _slimmed(
    model: onnx.ModelProto,
    example: npt.NDArray[Any],
    reference: tuple[npt.NDArray[Any], ...],
    names: tuple[str, ...],
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Return the proven graph after onnxslim where that keeps it right, else as it came with a note."""
    check_every_output(reference, run_graph(model, example), names=names, where="the exported graph")
    try:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        slim = canonical(onnxslim.slim(copy), max_ir=model.ir_version)
        check_every_output(reference, run_graph(slim, example), names=names, where="the slimmed graph")
    except Exception as error:  # onnxslim raises anything, and the larger graph is right
        return model, (f"left as exported, because slimming failed: {first_cause(error)}",)
    if opset_of(slim) != opset_of(model):
        return model, ("left as exported, because slimming changed the opset",)
    return slim, ()


EXPORTERS: dict[Exporter, Callable[[nn.Module, torch.Tensor, int, tuple[str, ...]], onnx.ModelProto]] = {
    "dynamo": _dynamo,
    "torchscript": _torchscript,
}
