"""An ONNX file that came in, made into what the rest of the pipeline expects: "input" -> "logits", batch 1, capped."""

from pathlib import Path

import onnx
from onnx import ModelProto, version_converter

from edgekd.errors import BadInput
from edgekd.formats.onnx_file import read_onnx
from edgekd.onnx_graph import canonical, opset_of, to_bytes
from edgekd.record import Record
from edgekd.workspace import write_atomic


class Adopted(Record):
    """What was changed on the way in, in sentences."""

    notes: tuple[str, ...]


def adopt_onnx(source: Path, path: Path, *, max_opset: int, max_ir: int) -> Adopted:
    """Rewrite `source` as `path` with the names, static batch 1, opset and IR version that the target needs.

    Raises:
        BadInput: more than one input, or an opset above the target's that cannot be converted down.
    """
    model = read_onnx(source)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise BadInput(f"{source} has {len(inputs)} inputs; only models with one image input can be compressed so far.")
    notes = []
    opset = opset_of(model)
    if opset > max_opset:
        model = _convert(model, source, opset, max_opset)
        notes.append(f"opset {opset} was converted down to {max_opset}, the most that the target's runtime loads")
    if model.ir_version > max_ir:
        notes.append(f"IR version {model.ir_version} was lowered to {max_ir}, the most that the target's runtime loads")
    _rename(model, inputs[0].name, "input")
    _rename(model, model.graph.output[0].name, "logits")
    _fix_batch(model)
    clean = canonical(model, max_ir=max_ir)
    onnx.checker.check_model(clean)
    write_atomic(path, to_bytes(clean))
    return Adopted(notes=tuple(notes))


def _convert(model: ModelProto, source: Path, opset: int, ceiling: int) -> ModelProto:
    try:
        return version_converter.convert_version(model, ceiling)
    except (RuntimeError, ValueError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(
            f"{source} has opset {opset}, the target's runtime loads at most {ceiling}, and converting down failed: "
            f"{reason}; export it again with that opset."
        ) from None


def _rename(model: ModelProto, old: str, new: str) -> None:
    """Rename one value everywhere in the main graph; a value already named `new` steps aside."""
    if old == new:
        return
    swap = {old: new, new: f"{new}_inner"}
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = swap.get(name, name)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        value.name = swap.get(value.name, value.name)


def _fix_batch(model: ModelProto) -> None:
    """Batch 1, static: runtimes plan memory and fuse better, and a phone classifies one image at a time."""
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].dim_value:
            dims[0].ClearField("dim_param")
            dims[0].dim_value = 1
