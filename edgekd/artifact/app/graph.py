"""The whole of app.onnx: what an app has, the model's own nodes as they are, and what an app wants."""

from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper, version_converter

from edgekd.artifact.app.boxes import boxes_wanted, write_boxes
from edgekd.artifact.app.classes import classes_wanted, write_classes
from edgekd.artifact.app.image import RESIZE_SMOOTHS, image_given, model_input_of_image
from edgekd.artifact.app.nodes import Nodes
from edgekd.artifact.app.sound import model_input_of_sound, sound_given
from edgekd.artifact.app.tokens import Ends, ends_of, ids_given, model_input_of_ids
from edgekd.artifact.contract import Contract
from edgekd.errors import BadInput, reason_of
from edgekd.external_data import to_bytes
from edgekd.formats.onnx_file import onnx_inputs
from edgekd.onnx_graph import STANDARD_DOMAINS, inner_graphs, opset_of, rename_values, value_names
from edgekd.workspace import write_atomic

FILE = "app.onnx"
LEAST_OPSET = 13
"""What the nodes around the model need."""


def write_app(model: Path, contract: Contract, *, max_opset: int, tokenizer: Path | None = None) -> Path:
    """Write app.onnx beside an artifact's model.onnx, whose weights it shares where they lie in a file of their own.

    Args:
        model: what edgekd exported or adopted, of batch 1.
        contract: what goes in and comes out.
        max_opset: the highest opset that the device's runtime loads.
        tokenizer: of models of text.

    Raises:
        BadInput: the model's opset is too old, and a newer one is too new for the device or cannot be had.
    """
    ends = ends_of(tokenizer) if tokenizer else Ends()
    app = app_graph(onnx.load(model, load_external_data=False), contract, max_opset=max_opset, ends=ends)
    path = model.with_name(FILE)
    write_atomic(path, to_bytes(app))
    onnx.checker.check_model(str(path), full_check=True)
    return path


def app_graph(model: ModelProto, contract: Contract, *, max_opset: int, ends: Ends | None = None) -> ModelProto:
    """Return a model's graph with the contract's kind of input before it and its answer behind it, without a batch.

    What is added are standard operators at the model's own opset; at `LEAST_OPSET` where that is older; of images at
    the one whose Resize smooths, where the device loads it and the model's nodes mean the same in it. Raises BadInput
    as `write_app`.
    """
    app = _new_enough(model, max_opset, better=RESIZE_SMOOTHS if contract.kind == "image" else LEAST_OPSET)
    given, wanted = _given(contract), _wanted(contract)
    prefix = _settle_names(app.graph, {value.name for value in (given, *wanted)})
    before, behind = Nodes(f"{prefix}in_"), Nodes(f"{prefix}out_")
    fed = _write_input(before, contract, given.name, opset_of(app), ends or Ends())
    before.add("Identity", fed, into=onnx_inputs(app)[0].name)
    _write_answer(behind, contract, [output.name for output in app.graph.output])
    for at, node in enumerate(before.made):
        app.graph.node.insert(at, node)
    app.graph.node.extend(behind.made)
    del app.graph.input[:], app.graph.output[:]
    app.graph.initializer.extend([*before.stored, *behind.stored])
    app.graph.input.append(given)
    app.graph.output.extend(wanted)
    return app


def _given(contract: Contract) -> ValueInfoProto:
    if contract.kind == "image":
        return image_given(contract)
    if contract.kind == "sound":
        return sound_given()
    if contract.kind == "tokens":
        return ids_given()
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(contract.dtype))
    return helper.make_tensor_value_info("input", kind, contract.shape)


def _write_input(nodes: Nodes, contract: Contract, given: str, opset: int, ends: Ends) -> str:
    if contract.kind == "image":
        return model_input_of_image(nodes, contract, opset)
    if contract.kind == "sound":
        return model_input_of_sound(nodes, contract)
    if contract.tokens:
        return model_input_of_ids(nodes, contract, contract.tokens, ends)
    return nodes.add("Unsqueeze", given, np.array([0]))


def _wanted(contract: Contract) -> list[ValueInfoProto]:
    shape = contract.outputs[0].shape[1:]
    if contract.answer == "classes":
        return classes_wanted(*shape)
    if contract.answer == "boxes":
        return boxes_wanted()
    return [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, shape)]


def _write_answer(nodes: Nodes, contract: Contract, outputs: list[str]) -> None:
    shape = contract.outputs[0].shape[1:]
    if contract.answer == "classes":
        write_classes(nodes, outputs[0], *shape, shares=contract.probabilities is None)
    elif contract.answer == "boxes":
        write_boxes(nodes, outputs[0], outputs[1], contract)
    else:
        nodes.add("Reshape", outputs[0], np.array(shape, np.int64), into="outputs")


def _new_enough(model: ModelProto, max_opset: int, *, better: int) -> ModelProto:
    """A copy of the model, of `LEAST_OPSET` at least, and of the `better` one where its nodes mean the same there."""
    opset = opset_of(model)
    if opset < LEAST_OPSET:
        return _converted(model, opset, max_opset)
    copy = ModelProto()
    copy.CopyFrom(model)
    if opset < better <= max_opset and not copy.functions and _means_the_same(copy.graph, opset, better):
        for one in copy.opset_import:
            one.version = better if one.domain in STANDARD_DOMAINS else one.version
    return copy


def _means_the_same(graph: GraphProto, opset: int, other: int) -> bool:
    """Whether no operator was defined otherwise between two opsets, from `LEAST_OPSET` to `RESIZE_SMOOTHS`."""
    return all(
        node.domain not in STANDARD_DOMAINS
        or node.op_type in WIDENED
        or len({onnx.defs.get_schema(node.op_type, one).since_version for one in (opset, other)}) == 1
        for node in graph.node
    ) and all(_means_the_same(inner, opset, other) for node in graph.node for inner in inner_graphs(node))


def _converted(model: ModelProto, opset: int, max_opset: int) -> ModelProto:
    needed = f"The model has opset {opset}, and app.onnx needs {LEAST_OPSET}"
    if max_opset < LEAST_OPSET:
        raise BadInput(f"{needed}, where the device's runtime loads {max_opset}; name a device with a newer runtime.")
    try:
        return version_converter.convert_version(model, LEAST_OPSET)
    except Exception as error:  # the converter raises plain RuntimeError and more
        raise BadInput(f"{needed}, to which it cannot be converted ({reason_of(error)}); export it again.") from error


def _settle_names(graph: GraphProto, wanted: set[str]) -> str:
    """Rename the model's values that have a name of `wanted`; return a beginning that no other name has."""
    taken, prefix = value_names(graph), "app_"
    while any(name.startswith(prefix) for name in taken):
        prefix = f"_{prefix}"
    rename_values(graph, {name: f"{prefix}model_{name}" for name in wanted & taken})
    return prefix


WIDENED = frozenset(
    {
        *("Add", "Sub", "Mul", "Div", "Relu", "LeakyRelu", "PRelu", "Where", "Identity"),
        *("Reshape", "Shape", "Pad", "Pow", "BatchNormalization", "LSTM", "GRU", "RNN"),
    }
)
"""Operators that between opsets 13 and 18 only learned more types, or options that are off unless asked for."""
