"""ONNX files as edgekd writes them, one each up to `ONE_FILE` bytes of weights and two above.

A protobuf message ends at 2 GiB. What is larger keeps its weights as ONNX's external data in `NAME.onnx.data`: under a
location relative to the graph's file, so that both can be moved together, and at multiples of `PAGE`, so that a runtime
can map them. `onnx.load` and the runtimes read either kind by the path of the graph's file alone.
"""

import hashlib
import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import EncodeError, Message
from onnx import ModelProto, TensorProto, numpy_helper

from edgekd.errors import BadInput
from edgekd.workspace import write_atomic

ONE_FILE = 1_900_000_000
"""Bytes of weights up to which a model is one file; the rest of 2 GiB is left to the graph."""
PAGE = 2**16
"""What Windows maps files by, and the largest page of Arm systems. Smaller tensors stay in the graph's file, where
shape inference finds what it reads."""
_DIGEST = "external_data_sha256"
_CHUNK = 2**24


def write_onnx(path: Path, model: ModelProto) -> None:
    """Write a model whole, the same bytes for the same model: as `path`, or as `path` and `data_file(path)`.

    The graph's file holds the SHA-256 of the other, so that its own stands for both.

    Raises:
        BadInput: over 2 GiB lie elsewhere than in initializers, or in types that are not put outside.
    """
    outside, data = _outside(model), data_file(path)
    if not outside:
        write_atomic(path, to_bytes(model))
        data.unlink(missing_ok=True)  # of a larger model that was written here before
        return
    digest = hashlib.sha256()
    write_atomic(data, _hashed(_laid_out(outside), digest))
    write_atomic(path, to_bytes(_outline(model, outside, data.name, digest.hexdigest())))


def copy_onnx(source: Path, target: Path) -> None:
    """Copy a file that `write_onnx` wrote, and the data beside it under the target's name."""
    data = data_file(source)
    if not data.is_file():
        write_atomic(target, _read(source))
        return
    write_atomic(data_file(target), _read(data))
    model = onnx.load(source, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = data_file(target).name
    write_atomic(target, to_bytes(model))


def set_metadata(path: Path, key: str, text: str) -> None:
    """Put an entry into the metadata of a file that `write_onnx` wrote, in place of one of the same key."""
    model = onnx.load(path, load_external_data=False)
    others = [entry for entry in model.metadata_props if entry.key != key]
    del model.metadata_props[:]
    model.metadata_props.extend([*others, onnx.StringStringEntryProto(key=key, value=text)])
    write_atomic(path, to_bytes(model))


def data_file(path: Path) -> Path:
    """Where the weights of a model lie that is too large for the one file `path`."""
    return path.with_name(f"{path.name}.data")


def size_kib(path: Path) -> float:
    """Size of a model that edgekd wrote, with the data beside it."""
    return round(sum(file.stat().st_size for file in (path, data_file(path)) if file.is_file()) / 1024, 1)


def graph_digest(model: ModelProto) -> str:
    """SHA-256 of a model in memory."""
    outside, digest = _outside(model), hashlib.sha256()
    for _ in _hashed(_laid_out(outside), digest):
        pass
    return hashlib.sha256(to_bytes(_outline(model, outside, "", digest.hexdigest()))).hexdigest()


@contextmanager
def loadable(model: ModelProto) -> Iterator[bytes | str]:
    """Give what onnx's checker and ONNX Runtime take for a model in memory: its bytes, or the path of a temporary file
    where bytes cannot hold it."""
    if not _outside(model):
        yield to_bytes(model)
        return
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(path, model)
        yield str(path)


def is_large(model: ModelProto) -> bool:
    """Whether a model has more weights than one file is given."""
    return sum(map(_size, model.graph.initializer)) > ONE_FILE


def to_bytes(model: ModelProto) -> bytes:
    """Serialise a model, the same bytes for the same model. Raises BadInput above protobuf's 2 GiB."""
    try:
        return bytes(model.SerializeToString(deterministic=True))
    except (EncodeError, ValueError) as error:
        raise BadInput(
            "The graph holds over 2 GiB in other places than initializers, which no ONNX file takes; export the model "
            "with its weights as initializers."
        ) from error


def _outside(model: ModelProto) -> list[TensorProto]:
    """The initializers that do not go into the graph's file, in their order."""
    if not is_large(model):
        return []
    return [tensor for tensor in model.graph.initializer if _size(tensor) >= PAGE]


def _outline(model: ModelProto, outside: Sequence[TensorProto], location: str, digest: str) -> ModelProto:
    """The model with places in a file for the tensors of `outside`, of which nothing is copied; `model` itself where
    there are none."""
    if not outside:
        return model
    outline = ModelProto()
    _copy_fields(model, outline, leave=("graph", "metadata_props"))
    _copy_fields(model.graph, outline.graph, leave=("initializer",))
    outline.metadata_props.add(key=_DIGEST, value=digest)
    offsets = dict(zip((tensor.name for tensor in outside), _offsets(outside), strict=True))
    for tensor in model.graph.initializer:
        if tensor.name not in offsets:
            outline.graph.initializer.append(tensor)
            continue
        kept = outline.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        kept.data_location = TensorProto.EXTERNAL
        entries = {"location": location, "offset": offsets[tensor.name], "length": _size(tensor)}
        for key, value in entries.items():
            kept.external_data.add(key=key, value=str(value))
    return outline


def _copy_fields(source: Message, target: Message, *, leave: Sequence[str]) -> None:
    for field, value in source.ListFields():
        if field.name in leave:
            continue
        if hasattr(value, "extend"):
            getattr(target, field.name).extend(value)
        elif isinstance(value, Message):
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)


def _offsets(tensors: Iterable[TensorProto]) -> Iterator[int]:
    end = 0
    for tensor in tensors:
        offset = -(-end // PAGE) * PAGE
        yield offset
        end = offset + _size(tensor)


def _laid_out(tensors: Sequence[TensorProto]) -> Iterator[bytes]:
    """What the data file holds, one tensor at a time."""
    end = 0
    for tensor, offset in zip(tensors, _offsets(tensors), strict=True):
        yield bytes(offset - end)
        stored = tensor if tensor.HasField("raw_data") else numpy_helper.from_array(numpy_helper.to_array(tensor))
        yield stored.raw_data
        end = offset + _size(tensor)


def _size(tensor: TensorProto) -> int:
    """Bytes of a tensor's values, told by its shape: asking the message would copy them. 0 for what is never put
    outside: strings, and types of less than a byte."""
    if tensor.data_type not in _PLAIN:
        return 0
    elements: int = math.prod(tensor.dims)
    return elements * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


_PLAIN = {
    *(TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE),
    *(TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64),
}


def _hashed(chunks: Iterable[bytes], digest: Any) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
