"""An ONNX file that came in, made into what the pipeline expects: "input" -> "logits", static, batch 1.

Nothing is taken on trust: the rewritten graph is run on one input at a time, and where the batch was changed it is
compared with the graph that came.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    TensorShapeProto,
    ValueInfoProto,
    helper,
    numpy_helper,
    version_converter,
)

from edgekd.errors import BadInput
from edgekd.exporting.onnx_export import output_names
from edgekd.external_data import is_large, write_onnx
from edgekd.formats.onnx_file import OnnxValue, model_input, read_whole_onnx
from edgekd.formats.zip_members import shown
from edgekd.onnx_graph import canonical, inner_graphs, opset_of, rename_values, run_graph, value_names
from edgekd.parity import check_every_output
from edgekd.preprocessing import sample_inputs
from edgekd.record import Record
from edgekd.runtimes import in_one_line

MIN_IR = 4
"""From here on an initializer need not be listed as an input too."""


class Adopted(Record):
    """The names of the file's outputs, and what was changed on the way in, in sentences."""

    outputs: tuple[str, ...]
    notes: tuple[str, ...]


def adopt_onnx(
    source: Path,
    path: Path,
    *,
    shape: tuple[int, ...],
    max_opset: int,
    max_ir: int,
    output: str = "logits",
    further: tuple[str, ...] = (),
) -> Adopted:
    """Rewrite `source`, with its external data, as the file `path` that the target loads.

    Args:
        source: a model of one input.
        path: what is written: "input" float32 or int64 (1, *shape) to the outputs that `output_names` says; of a
            classifier ("logits") only the first is kept.
        shape: of one input, (channels, height, width) of images; free dimensions are fixed to it.
        max_opset: highest opset that the device's runtime loads.
        max_ir: highest ONNX IR version that the device's runtime loads.
        output: "logits" for a classifier, "output" for other models.
        further: names of the other outputs; without any, a classifier's others are dropped.

    Raises:
        BadInput: another kind of input, a batch above 1 that the graph cannot do without, sizes other than `shape`, an
            opset above the target's that cannot be converted down, or a graph that does not run.
    """
    model = read_whole_onnx(source)
    value = model_input(source, model)
    notes = _keep_first_output(model.graph) if output == "logits" and not further else []
    notes += _fixed_sizes(source, value, shape)
    opset = opset_of(model)
    if opset > max_opset:
        model = _convert(model, source, opset, max_opset)
        notes.append(f"opset {opset} was converted down to {max_opset}, the most that the target's runtime loads")
    if model.ir_version > max_ir:
        notes.append(f"IR version {model.ir_version} was lowered to {max_ir}, the most that the target's runtime loads")
    model.ir_version = max(model.ir_version, MIN_IR)
    names = output_names(len(model.graph.output), output, further)
    _name_input_and_outputs(model.graph, value.name, names)
    if value.dtype == "int32":
        _widen_input(model.graph)
        notes.append("the input was widened from int32 to int64, as which data are stored")
    model = canonical(model, max_ir=max_ir)
    batch = value.shape[0] if value.shape and isinstance(value.shape[0], int) else 1
    if batch > 1:
        notes.append(f"the batch was set from {batch} to 1")
    _make_static(source, model, batch=batch, shape=shape)
    write_onnx(path, model)
    return Adopted(outputs=names, notes=tuple(notes))


def _keep_first_output(graph: GraphProto) -> list[str]:
    """Drop all outputs but the first, and the nodes that only they need."""
    dropped = [shown(output.name) for output in graph.output[1:]]
    if not dropped:
        return []
    del graph.output[1:]
    needed, kept = {graph.output[0].name}, list[NodeProto]()
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input, *(value_names(inner) for inner in inner_graphs(node)))
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in reversed(kept)]
    del graph.node[:]
    graph.node.extend(nodes)
    return [f"only the first output, {shown(graph.output[0].name)}, was kept, without {', '.join(dropped[:5])}"]


def _fixed_sizes(source: Path, value: OnnxValue, shape: tuple[int, ...]) -> list[str]:
    """Say which free sizes become those of the data, and refuse fixed ones that differ."""
    given = (None,) * len(shape) if value.shape is None else value.shape[1:]
    written = "x".join(map(str, shape))
    if len(given) != len(shape) or any(
        isinstance(size, int) and size != want for size, want in zip(given, shape, strict=True)
    ):
        raise BadInput(
            f"{source} takes inputs of {'x'.join(str(s) if isinstance(s, int) else 'any' for s in given)}, "
            f"they are {written}; set --input-size to what the model takes, or give the data it was trained on"
        )
    free = any(not isinstance(size, int) for size in given)
    return [f"the input was fixed to {written}"] if free else []


def _convert(model: ModelProto, source: Path, opset: int, ceiling: int) -> ModelProto:
    if is_large(model):
        raise BadInput(
            f"{source} has opset {opset}, the target's runtime loads at most {ceiling}, and what needs more than one "
            "file is not converted down; export it again with that opset."
        )
    try:
        return version_converter.convert_version(model, ceiling)
    except (RuntimeError, ValueError, IndexError) as error:
        raise BadInput(
            f"{source} has opset {opset}, the target's runtime loads at most {ceiling}, and converting down failed: "
            f"{in_one_line(str(error))}; export it again with that opset."
        ) from None


def _name_input_and_outputs(graph: GraphProto, fed: str, outputs: tuple[str, ...]) -> None:
    """Rename the input and the outputs everywhere; other values of these names step aside."""
    names = {fed: "input", **{value.name: name for value, name in zip(graph.output, outputs, strict=True)}}
    taken = value_names(graph)
    for name in {"input", *outputs} & taken - names.keys():
        aside = f"{name}_inner"
        while aside in taken:
            aside += "_"
        names[name] = aside
    kept = ValueInfoProto.FromString(next(value for value in graph.input if value.name == fed).SerializeToString())
    del graph.input[:]  # old files list their weights there too
    graph.input.append(kept)
    rename_values(graph, names)


def _widen_input(graph: GraphProto) -> None:
    """Let the graph take int64 in place of int32, by a cast before everything else."""
    rename_values(graph, {"input": "input_int32"})
    graph.input[0].name = "input"
    graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    cast = helper.make_node("Cast", ["input"], ["input_int32"], to=TensorProto.INT32)
    nodes = [cast, *(NodeProto.FromString(node.SerializeToString()) for node in graph.node)]
    del graph.node[:]
    graph.node.extend(nodes)


def _make_static(source: Path, model: ModelProto, *, batch: int, shape: tuple[int, ...]) -> None:
    """Set batch 1 and `shape`, in place, and run the graph: runtimes plan memory and fuse better, and a device works on
    one input at a time."""
    value = model.graph.input[0].type.tensor_type
    for output in model.graph.output:
        for size in output.type.tensor_type.shape.dim:
            size.Clear()  # what is written there may belong to another batch; what the graph gives is written below
    inputs = sample_inputs(batch, shape, "float32" if value.elem_type == TensorProto.FLOAT else "int64")
    expected = _outputs(source, model, inputs) if batch > 1 else None
    value.shape.CopyFrom(_shape((1, *shape)))
    if expected is None:
        actual = _outputs(source, model, inputs)
    else:
        _unfix_reshapes(model.graph, batch)
        try:
            actual = _outputs(source, model, inputs)
            names = [output.name for output in model.graph.output]
            check_every_output(expected, actual, names=names, where="one input at a time")
        except BadInput as error:
            raise BadInput(
                f"{source} is made for batches of {batch}, and its graph does not give the same with a batch of 1; "
                "export it with a batch of 1 or a free one."
            ) from error
    for output, array in zip(model.graph.output, actual, strict=True):
        output.type.tensor_type.shape.CopyFrom(_shape((1, *array.shape[1:])))


def _outputs(source: Path, model: ModelProto, inputs: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
    try:
        return run_graph(model, inputs)
    except Exception as error:  # the checker and the runtime raise anything
        raise BadInput(
            f"{source} does not run on an input of {'x'.join(map(str, inputs.shape[1:]))}: {in_one_line(str(error))}; "
            "export it again, or set --input-size to what it was trained on."
        ) from error


def _unfix_reshapes(graph: GraphProto, batch: int) -> None:
    """Exporters write a fixed batch into the constants that tensors are reshaped to."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            constants[node.output[0]] = node.attribute[0].t
    for node in graph.node:
        target = constants.get(node.input[-1]) if node.op_type in ("Reshape", "Expand") else None
        sizes = np.empty(0) if target is None else numpy_helper.to_array(target).copy()
        if target is not None and sizes.ndim == 1 and sizes.size and sizes[0] == batch:
            sizes[0] = 1
            target.CopyFrom(numpy_helper.from_array(sizes, target.name))


def _shape(sizes: tuple[int, ...]) -> TensorShapeProto:
    return TensorShapeProto(dim=[TensorShapeProto.Dimension(dim_value=size) for size in sizes])
