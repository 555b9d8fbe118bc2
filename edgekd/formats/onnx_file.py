"""Reading ONNX files from strangers: limits first, then external data, then onnx's own checker."""

import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto
from onnx.external_data_helper import load_external_data_for_tensor

from edgekd.errors import BadInput
from edgekd.formats.zip_members import shown
from edgekd.record import Record

MAX_BYTES = 2 * 2**30
"""A protobuf message cannot be larger; bigger models keep their weights in external data."""
MAX_WEIGHTS = 16 * 2**30
"""Bytes that are read into memory; several tensors may name the same range, and each has it to itself then."""
MAX_NODES = 200_000
MAX_DEPTH = 16
MAX_ELEMENTS = 2**36
"""Elements of one declared tensor."""
INPUT_TYPES: dict[str, Literal["float32", "int64"]] = {"float32": "float32", "int64": "int64", "int32": "int64"}
"""Types of a model's input, and what the data for it are stored as."""


class OnnxValue(Record):
    """One input or output: `shape` holds numbers, names of dynamic dimensions, or None; None where the rank is open."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


def read_onnx(path: str | Path) -> ModelProto:
    """Read and check an ONNX model. External data are checked and left where they are.

    Raises:
        BadInput: not ONNX, truncated, too large, unsafe external data, or refused by onnx.checker.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"{path}: no such file; give the path of an .onnx file")
    size = path.stat().st_size
    if not 0 < size <= MAX_BYTES:
        raise BadInput(f"{path}: {size} bytes, an ONNX file has between 1 and {MAX_BYTES}; export it again")
    model = ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except (DecodeError, ValueError) as error:
        raise BadInput(f"{path}: no ONNX model, or a truncated one; copy or export it again") from error
    if not model.HasField("graph") or not model.ir_version or not model.graph.output:
        raise BadInput(f"{path}: no ONNX model (it has no graph with outputs); export it again")
    _check_limits(path, model)
    for tensor in all_tensors(model):
        _check_tensor(path, tensor)
    try:
        onnx.checker.check_model(model if not _stored_outside(model) else os.fspath(path))
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise BadInput(f"{path}: onnx.checker refuses it ({shown(reason)}); export it again") from error
    return model


def read_whole_onnx(path: str | Path) -> ModelProto:
    """Read and check an ONNX model, and load its external data into it.

    Raises:
        BadInput: as `read_onnx`; or the external data are more than `MAX_WEIGHTS`.
    """
    path = Path(path)
    model = read_onnx(path)
    outside = _stored_outside(model)
    size = sum(_stored_bytes(tensor) for tensor in outside)
    if size > MAX_WEIGHTS:
        raise BadInput(f"{path}: {size} bytes of external data, edgekd reads {MAX_WEIGHTS}; give a smaller model")
    for tensor in outside:
        needed = _stored_bytes(tensor)
        try:
            load_external_data_for_tensor(tensor, os.fspath(path.parent))
        except (onnx.checker.ValidationError, OSError, ValueError, RuntimeError) as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            raise BadInput(f"{path}: the external data of {shown(tensor.name)} cannot be read ({reason})") from error
        if len(tensor.raw_data) > needed:  # a range without a length goes on to the end of the file
            tensor.raw_data = tensor.raw_data[:needed]
    return model


def external_files(path: str | Path) -> tuple[Path, ...]:
    """Return the files beside an ONNX file that hold its weights, each once, sorted; checked as `read_onnx` does."""
    path = Path(path)
    entries = [entry for tensor in _stored_outside(read_onnx(path)) for entry in tensor.external_data]
    return tuple(sorted({path.parent / entry.value for entry in entries if entry.key == "location"}))


def model_input(path: Path, model: ModelProto) -> OnnxValue:
    """Return the one input of a model: float32, int64 or int32 (batch, ...), each size free or fixed.

    An input of rank 4 is taken for images, (batch, channels, height, width).

    Raises:
        BadInput: more or fewer inputs, another type, no batch before the sizes of one sample, or images in another
            order of dimensions.
    """
    inputs = onnx_inputs(model)
    if len(inputs) != 1:
        listed = ", ".join(f"{shown(value.name)} {value.dtype}" for value in inputs[:5])
        raise BadInput(f"{path}: edgekd takes models with one input, this one has {len(inputs)} ({listed})")
    value, where = inputs[0], f"{path}: its input {shown(inputs[0].name)}"
    if value.dtype not in INPUT_TYPES:
        raise BadInput(f"{where} is {value.dtype}; export the model with a float32 input, or int64 for indices")
    if value.shape is None:
        return value
    sizes = [size if isinstance(size, int) else None for size in value.shape]
    written = f"({', '.join('any' if size is None else str(size) for size in sizes)})"
    if len(sizes) < 2:
        raise BadInput(
            f"{where} has the shape {written}; inputs must be (batch, ...): export it with a batch dimension"
        )
    if len(sizes) == 4 and sizes[3] in (1, 3) and sizes[1] not in (1, 3):
        raise BadInput(
            f"{where} has the shape {written}, channels last; inputs must be (batch, channels, height, width): convert "
            "the model again that way (tf2onnx: --inputs-as-nchw)"
        )
    return value


def onnx_inputs(model: ModelProto) -> tuple[OnnxValue, ...]:
    """The inputs that a caller must feed: graph inputs that no initializer fills."""
    filled = {tensor.name for tensor in model.graph.initializer}
    filled |= {sparse.values.name for sparse in model.graph.sparse_initializer}
    return tuple(_value(value) for value in model.graph.input if value.name not in filled)


def onnx_outputs(model: ModelProto) -> tuple[OnnxValue, ...]:
    """The outputs in order."""
    return tuple(_value(value) for value in model.graph.output)


def all_tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor stored in the model: initializers, attributes, sub-graphs, functions and training graphs."""
    graphs = [model.graph]
    for training in model.training_info:
        graphs += [training.initialization, training.algorithm]
    for graph in graphs:
        yield from _graph_tensors(graph, depth=0)
    for function in model.functions:
        for node in function.node:
            for attribute in (*node.attribute, *function.attribute_proto):
                yield from _attribute_tensors(attribute, depth=1)


def _graph_tensors(graph: GraphProto, *, depth: int) -> Iterator[TensorProto]:
    if depth > MAX_DEPTH:
        raise BadInput(f"the ONNX graph {shown(graph.name)} is nested more than {MAX_DEPTH} deep; export a plain one")
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from _attribute_tensors(attribute, depth=depth)


def _attribute_tensors(attribute: AttributeProto, *, depth: int) -> Iterator[TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    for sparse in (
        *attribute.sparse_tensors,
        *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
    ):
        yield from (sparse.values, sparse.indices)
    for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
        yield from _graph_tensors(graph, depth=depth + 1)


def _check_limits(path: Path, model: ModelProto) -> None:
    nodes = len(model.graph.node) + sum(len(function.node) for function in model.functions)
    if nodes > MAX_NODES:
        raise BadInput(f"{path}: {nodes} nodes, more than the {MAX_NODES} allowed; this is no model for a small device")
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        elements = 1
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_value < 0:
                raise BadInput(f"{path}: {shown(value.name)} has a negative dimension; export it again")
            elements *= max(1, dimension.dim_value)
        if elements > MAX_ELEMENTS:
            raise BadInput(f"{path}: {shown(value.name)} declares {elements} elements, far too many; export it again")


def _stored_outside(model: ModelProto) -> list[TensorProto]:
    return [tensor for tensor in all_tensors(model) if tensor.data_location == TensorProto.EXTERNAL]


def _check_tensor(path: Path, tensor: TensorProto) -> None:
    elements = 1
    for size in tensor.dims:
        elements *= size
        if size < 0 or elements > MAX_ELEMENTS:
            raise BadInput(f"{path}: the tensor {shown(tensor.name)} has an impossible shape; export it again")
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        _check_external(path, tensor)


def _check_external(path: Path, tensor: TensorProto) -> None:
    """A runtime maps this file and range without asking; so both are checked before it sees the model."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    where = f"{path}: the external data of {shown(tensor.name)}"
    if len(entries) != len(tensor.external_data):
        raise BadInput(f"{where} are described twice; export the model again")
    location = entries.get("location", "")
    parts = location.replace("\\", "/").split("/")
    if not location or location.startswith(("/", "\\", "~")) or ".." in parts or ":" in location or "\0" in location:
        raise BadInput(f"{where} lie at {shown(location)}, outside the model's folder; save the model as one file")
    file = path.parent / location
    try:
        folders = [path.parent.joinpath(*parts[:count]) for count in range(1, len(parts))]
        linked = any(folder.is_symlink() for folder in folders)
        state = file.lstat()
    except OSError as error:
        raise BadInput(f"{where} lie in {shown(location)}, which is not there; put it beside the model") from error
    if linked or not stat.S_ISREG(state.st_mode) or state.st_nlink != 1:
        raise BadInput(f"{where} ({shown(location)}) are a link or no regular file; copy the file itself there")
    try:
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", "-1"))
    except ValueError as error:
        raise BadInput(f"{where} have an offset or length that is no number; export the model again") from error
    length = state.st_size - offset if length < 0 and "length" not in entries else length
    if offset < 0 or length < 0 or offset + length > state.st_size:
        raise BadInput(f"{where} reach beyond the end of {shown(location)}; copy it again")
    needed = _stored_bytes(tensor)
    if length < needed:
        raise BadInput(f"{where} have {length} bytes where {needed} are needed; export the model again")


def _stored_bytes(tensor: TensorProto) -> int:
    elements: int = math.prod(tensor.dims)
    return (elements * _bits(tensor.data_type) + 7) // 8


def _bits(data_type: int) -> int:
    """Bits of one element; 1 where onnx knows no numpy type for it, so that nothing valid is refused."""
    name = TensorProto.DataType.Name(data_type) if data_type in TensorProto.DataType.values() else ""
    if name.endswith("4") or name.startswith("FLOAT4"):
        return 4 if name in ("INT4", "UINT4", "FLOAT4E2M1") else _numpy_bits(data_type)
    return _numpy_bits(data_type)


def _numpy_bits(data_type: int) -> int:
    try:
        return 8 * int(onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize)
    except KeyError:
        return 1


def _value(value: onnx.ValueInfoProto) -> OnnxValue:
    tensor = value.type.tensor_type
    known = tensor.elem_type in TensorProto.DataType.values()
    name = TensorProto.DataType.Name(tensor.elem_type).lower() if known else "undefined"
    name = {"float": "float32", "double": "float64"}.get(name, name)
    if not tensor.HasField("shape"):
        return OnnxValue(name=value.name, dtype=name, shape=None)
    return OnnxValue(name=value.name, dtype=name, shape=tuple(_dimension(dim) for dim in tensor.shape.dim))


def _dimension(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return str(dim.dim_param) if dim.dim_param else None
