"""What ONNX Runtime's quantizer needs done around it.

Before: shapes inferred anew and constants folded (it fails on exporters' raw graphs, whose stored shapes it trusts
while it transposes weights). After: float logits, the graph cleaned, checked, loaded and run, and only then written
whole (the quantizer itself leaves half a file on a full disk).
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnxruntime.quantization.quant_utils import load_model_with_shape_infer
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgekd.errors import BadInput
from edgekd.external_data import is_large, write_onnx
from edgekd.onnx_graph import STANDARD_DOMAINS, canonical, opset_of, quietly, run_graph, untie
from edgekd.preprocessing import Dtype, sample_inputs
from edgekd.runtimes import in_one_line
from edgekd.schemes.scheme import SchemeResult

MIN_OPSET = 13
"""The first with a scale per channel in DequantizeLinear."""
_TYPES: dict[int, Dtype] = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.INT64: "int64"}
INTEGER = ("QLinear", "QGemm", "QAttention", "DequantizeLinear", "DynamicQuantize")
"""How the names of the runtime's integer operators begin."""


def already_integer(model: Path) -> str | None:
    """Say that a graph holds integer operators already, or None; the quantizer never ends on some of those."""
    operators = {node.op_type for node in onnx.load(model, load_external_data=False).graph.node}
    found = sorted(one for one in operators if one.endswith(("QuantizeLinear", "Integer")) or one.startswith(INTEGER))
    return f"the graph is quantized already ({found[0]})" if found else None


@dataclass(frozen=True)
class Prepared:
    """A float graph that the quantizer takes: shapes inferred, constants folded, every node with a name of its own.

    `source` is the file it came from.
    """

    source: Path
    graph: onnx.ModelProto
    max_ir: int
    notes: tuple[str, ...]


@contextmanager
def refusing(model: Path, by: str = "ONNX Runtime") -> Iterator[None]:
    """Turn whatever checker, quantizer and runtime raise into one sentence, a BadInput, and keep them quiet."""
    try:
        with quietly():
            yield
    except (BadInput, OSError):
        raise
    except Exception as error:  # they raise anything
        raise BadInput(
            f"{model.name}: {by} cannot quantize this graph: {in_one_line(str(error))}; ship it in fp32, or "
            "replace the operator that is named there."
        ) from error


def prepare(model: Path) -> Prepared:
    """Read a float ONNX file and prepare it for the quantizer; the same file gives the same graph.

    Raises:
        BadInput: the file is no model of one float32 or int64 input, or its shapes cannot be inferred.
    """
    with refusing(model), tempfile.TemporaryDirectory(prefix="edgekd-") as name:
        source = _closed(onnx.load(model))
        input_shape(source, model.name)
        path, notes = _prepared(source, Path(name))
        return Prepared(model, named(load_model_with_shape_infer(path)), source.ir_version, notes)


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Name the nodes that have no name, or another's, in place: layers are left out and reported by name."""
    met: set[str] = set()
    for at, node in enumerate(model.graph.node):
        if not node.name or node.name in met:
            node.name = f"{node.op_type}_{at}"
        while node.name in met:
            node.name += "_"
        met.add(node.name)
    return model


def finish(graph: onnx.ModelProto, prepared: Prepared) -> onnx.ModelProto:
    """Return a quantized graph clean, with float logits, and proven to load and run.

    The IR version is the source's; so is the opset, unless that was below `MIN_OPSET`. Raises BadInput where the
    checker or the runtime refuses it.
    """
    with refusing(prepared.source):
        clean = canonical(_with_float_products(graph), max_ir=prepared.max_ir)
        inputs = sample_inputs(1, input_shape(clean, prepared.source.name), input_dtype(clean))[0]
        run_graph(clean, inputs)
    return clean


def write_scheme(scheme: str, graph: onnx.ModelProto, out: Path, notes: tuple[str, ...]) -> SchemeResult:
    """Write the graph whole, and describe what was written."""
    write_onnx(out, graph)
    return SchemeResult(scheme=scheme, file=out.name, opset=opset_of(graph), ir_version=graph.ir_version, notes=notes)


def input_shape(model: onnx.ModelProto, where: str) -> tuple[int, ...]:
    """Shape of the only input, 1 for each symbolic dimension. Raises BadInput unless there is one, float32 or int64."""
    inputs = _inputs(model)
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type not in _TYPES:
        raise BadInput(
            f"{where}: a model of one float32 or int64 input is needed for quantization, this one has {len(inputs)}."
        )
    return tuple(dim.dim_value or 1 for dim in inputs[0].type.tensor_type.shape.dim)


def input_dtype(model: onnx.ModelProto) -> Dtype:
    """Type of the only input, which `input_shape` has found sound."""
    return _TYPES[_inputs(model)[0].type.tensor_type.elem_type]


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    constants = {one.name for one in model.graph.initializer}
    return [one for one in model.graph.input if one.name not in constants]


def _closed(source: onnx.ModelProto) -> onnx.ModelProto:
    """Take constants out of the inputs, where IR versions below 4 list them: what a caller may set is not folded."""
    inputs = _inputs(source)
    if len(inputs) < len(source.graph.input):
        del source.graph.input[:]
        source.graph.input.extend(inputs)
        source.ir_version = max(source.ir_version, 4)
    return source


def _prepared(source: onnx.ModelProto, folder: Path) -> tuple[Path, tuple[str, ...]]:
    notes: tuple[str, ...] = ()
    opset = opset_of(source)
    clean = canonical(source, max_ir=source.ir_version)
    if opset < MIN_OPSET:
        if is_large(clean):
            raise BadInput(
                f"int8 needs opset {MIN_OPSET}, the graph has {opset}, and what needs more than one file is not "
                "converted; export it again with a newer opset."
            )
        clean = onnx.version_converter.convert_version(clean, MIN_OPSET)
        notes = (f"opset raised from {opset} to {MIN_OPSET}, which int8 per channel needs",)
    untie(clean)
    raw, prepared = folder / "float.onnx", folder / "prepared.onnx"
    write_onnx(raw, clean)
    how = {"skip_symbolic_shape": True, "save_as_external_data": is_large(clean), "all_tensors_to_one_file": True}
    quant_pre_process(raw, prepared, **how)
    if _foreign(onnx.load(prepared, load_external_data=False)) - _foreign(clean):
        # The runtime's own operators load nowhere else; the quantizer manages without its optimiser.
        quant_pre_process(raw, prepared, skip_optimization=True, **how)
    return prepared, notes


def _foreign(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node if node.domain not in STANDARD_DOMAINS}


def _with_float_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """Take the last Q/DQ pair away where a matrix product feeds an output.

    The integer kernel of a matrix product hands out floats at no cost, so 8-bit logits would only add ties between
    classes, and cut what exceeds the calibrated range.
    """
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    readers: dict[str, int] = {}
    for node in graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    for output in graph.output:
        last = made_by[output.name]
        pair = made_by.get(last.input[0]) if last.op_type == "DequantizeLinear" else None
        product = made_by.get(pair.input[0]) if pair is not None and pair.op_type == "QuantizeLinear" else None
        if pair is None or product is None or product.op_type not in {"Gemm", "MatMul"}:
            continue
        if readers[pair.input[0]] > 1 or readers[last.input[0]] > 1:
            continue
        product.output[0] = output.name
        graph.node.remove(last)
        graph.node.remove(pair)
    return model
