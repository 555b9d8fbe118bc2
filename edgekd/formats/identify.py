"""What a model file is, told by its content; nothing in it is run."""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Literal

from edgekd.errors import BadInput
from edgekd.formats.pickle_names import TENSOR_NAMES, is_legacy_torch, names_in
from edgekd.formats.zip_members import open_archive, read_member, root_folder, shown
from edgekd.record import Record
from edgekd.workspace import file_sha256

Kind = Literal["exported program", "state dict", "pickled module", "torchscript", "onnx", "encoder directory"]
KIND_NAMES: dict[str, str] = {
    "exported program": "an exported program",
    "state dict": "a state dict",
    "pickled module": "a pickled module",
    "torchscript": "a TorchScript file",
    "onnx": "an ONNX file",
    "encoder directory": "a text encoder's directory",
}
"""Each kind with its article, for sentences."""

MAX_PICKLE = 512 * 2**20
OTHER_FORMATS = {
    "an HDF5 file (Keras)": (0, b"\x89HDF"),
    "a TensorFlow Lite model": (4, b"TFL3"),
    "an ONNX Runtime .ort model": (4, b"ORTM"),
    "a GGUF model": (0, b"GGUF"),
    "a gzip archive": (0, b"\x1f\x8b"),
    "a PNG image": (0, b"\x89PNG"),
    "a JPEG image": (0, b"\xff\xd8\xff"),
    "an XML document (OpenVINO IR?)": (0, b"<?xml"),
    "a NumPy array": (0, b"\x93NUMPY"),
}
ACCEPTED = "expected .pt2 (torch.export.save), a state dict (.pt, .pth, .safetensors) or .onnx"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""What a directory's weights are called, in the order they are looked for."""


class FileKind(Record):
    """What one file, or one encoder's directory, is. `safe` means that reading it runs no code from inside it."""

    path: str
    kind: Kind
    layout: str
    """How it is stored: "pt2 archive", "pt2 archive before torch 2.8", "torch zip", "torch legacy", "safetensors",
    "pickle", "torchscript zip", "protobuf"."""
    safe: bool
    sha256: str
    size_bytes: int
    names: tuple[str, ...] = ()
    """Python names, other than those of tensors and containers, that unpickling the file would import."""


def identify(path: str | Path) -> FileKind:
    """Tell what a model file is by its content, whatever its name ends in.

    Raises:
        BadInput: no such file, empty, truncated, or no model that edgekd reads.
    """
    path = Path(path)
    if path.is_dir():
        return _identify_directory(path)
    if not path.is_file():
        raise BadInput(f"{path}: no such file; {ACCEPTED}")
    size = path.stat().st_size
    if size == 0:
        raise BadInput(f"{path}: the file is empty; export or copy it again")
    with path.open("rb") as file:
        head = file.read(64)
    kind, layout, names = _classify(path, head, size)
    safe = kind in ("exported program", "state dict", "onnx")
    return FileKind(
        path=str(path), kind=kind, layout=layout, safe=safe, sha256=file_sha256(path), size_bytes=size, names=names
    )


def weights_in(folder: Path) -> Path | None:
    """The file of an encoder's weights in its directory, or None."""
    return next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)


def _identify_directory(path: Path) -> FileKind:
    """A directory as transformers saves a model. Its hash is of the configuration and the weights."""
    config, weights = path / "config.json", weights_in(path)
    if not config.is_file() or weights is None:
        sharded = any((path / f"{name}.index.json").is_file() for name in WEIGHTS)
        lacks = "config.json" if not config.is_file() else WEIGHTS[0]
        why = "its weights are in several files; save them in one" if sharded else f"it has no {lacks}"
        raise BadInput(
            f"{path}: a folder, not a model file, and not a text encoder's directory, since {why}; {ACCEPTED}"
        )
    inner = identify(weights)
    if inner.kind != "state dict":
        raise BadInput(
            f"{weights}: {KIND_NAMES[inner.kind]}, not plain weights; save them as model.safetensors (save_pretrained)"
        )
    hashes = f"config.json {file_sha256(config)} weights {inner.sha256}"
    return FileKind(
        path=str(path),
        kind="encoder directory",
        layout=inner.layout,
        safe=True,
        sha256=hashlib.sha256(hashes.encode()).hexdigest(),
        size_bytes=inner.size_bytes + config.stat().st_size,
    )


def _classify(path: Path, head: bytes, size: int) -> tuple[Kind, str, tuple[str, ...]]:
    # First of all: the length that such a file begins with may look like the magic bytes of anything below.
    if head[4:9] == b"\0\0\0\0{":
        if int.from_bytes(head[:8], "little") > size - 8:
            raise BadInput(f"{path}: a truncated .safetensors file; copy it again")
        return "state dict", "safetensors", ()
    for title, (offset, magic) in OTHER_FORMATS.items():
        if head[offset:].startswith(magic):
            raise BadInput(f"{path}: this is {title}, which edgekd does not read; {ACCEPTED}")
    if head.startswith(b"PK"):
        return _classify_zip(path)
    if head.startswith(b"\x80") or head[:1] in b"(}]c":
        return _classify_pickle(path, head)
    if head[0] == 0x08 or head[0] & 7 in (0, 2):
        return _classify_protobuf(path, size)
    raise BadInput(f"{path}: no model format that edgekd knows; {ACCEPTED}")


def _classify_zip(path: Path) -> tuple[Kind, str, tuple[str, ...]]:
    with open_archive(path) as archive:
        names = set(archive.namelist())
        root = root_folder(sorted(names))
        if f"{root}archive_format" in names:
            found = read_member(path, archive, f"{root}archive_format", 64)
            if found != b"pt2":
                raise BadInput(f"{path}: an archive of the format {shown(found.decode('latin-1'))}; {ACCEPTED}")
            return "exported program", "pt2 archive", ()
        if "serialized_exported_program.json" in names:
            return "exported program", "pt2 archive before torch 2.8", ()
        if f"{root}constants.pkl" in names:
            return "torchscript", "torchscript zip", ()
        if f"{root}data.pkl" in names:
            return _classify_torch_zip(path, archive, f"{root}data.pkl")
    raise BadInput(f"{path}: a zip archive that holds no PyTorch model; {ACCEPTED}")


def _classify_torch_zip(path: Path, archive: zipfile.ZipFile, member: str) -> tuple[Kind, str, tuple[str, ...]]:
    stream = io.BytesIO(read_member(path, archive, member, MAX_PICKLE))
    names = _foreign(path, [stream])
    return ("pickled module" if names else "state dict"), "torch zip", names


def _classify_pickle(path: Path, head: bytes) -> tuple[Kind, str, tuple[str, ...]]:
    """A bare pickle. torch's legacy format is a row of four pickles (magic, version, system, object), then storages."""
    with path.open("rb") as file:
        stream = io.BytesIO(file.read(MAX_PICKLE))
    legacy = is_legacy_torch(head)
    names = _foreign(path, [stream] * (4 if legacy else 1))
    if legacy:
        return ("pickled module" if names else "state dict"), "torch legacy", names
    return "pickled module", "pickle", names


def _foreign(path: Path, streams: list[io.BytesIO]) -> tuple[str, ...]:
    try:
        found = frozenset[str]().union(*(names_in(stream) for stream in streams))
    except BadInput as error:
        raise BadInput(f"{path}: truncated or damaged: {error}; copy or save the file again") from error
    return tuple(sorted(found - TENSOR_NAMES))


def _classify_protobuf(path: Path, size: int) -> tuple[Kind, str, tuple[str, ...]]:
    """Walk the outermost protobuf fields: an ONNX ModelProto has field 1 (ir_version), 7 (graph) and 8 (opsets)."""
    fields: set[int] = set()
    with path.open("rb") as file:
        while file.tell() < size:
            key = _varint(file)
            value = _varint(file) if key is not None and key & 7 in (0, 2) else None
            if key is None or value is None:
                break
            fields.add(key >> 3)
            if key & 7 == 2:
                file.seek(value, io.SEEK_CUR)
        complete = file.tell() == size
    if 7 in fields and fields <= set(range(1, 32)):
        if not complete:
            raise BadInput(f"{path}: a truncated or damaged ONNX file; copy or export it again")
        return "onnx", "protobuf", ()
    raise BadInput(f"{path}: no model format that edgekd knows; {ACCEPTED}")


def _varint(file: io.BufferedReader) -> int | None:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    return None
