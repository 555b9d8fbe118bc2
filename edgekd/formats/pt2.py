"""Safe reading of torch.export archives (.pt2): only what we checked and packed again reaches torch.export.load.

As it came, the file is never handed to torch: its loader unpickles weights and constants where the archive says so,
and retries sample inputs with weights_only=False. The archive written here holds no pickle but one of our own.
"""

import io
import json
import re
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from edgekd.errors import BadInput, reason_of
from edgekd.formats.pt2_json import checked_program
from edgekd.formats.pt2_weights import RawTensors, from_config, from_pickle
from edgekd.formats.quiet import quiet_torch
from edgekd.formats.zip_members import open_archive, read_member, root_folder, shown

MAX_JSON = 512 * 2**20
MAX_EXTRA = 2**20
MAX_WEIGHTS = 64 * 2**30

HOUSEKEEPING = re.compile(r"archive_format|archive_version|byteorder|version|\.data/(version|serialization_id)")
MODEL = re.compile(r"models/([A-Za-z0-9_.\-]+)\.json")
PAYLOAD = re.compile(r"data/(weights/weight|constants/tensor)_\d+|data/(weights|constants|sample_inputs)/[\w.\-]+\.pt")
CONFIG = re.compile(r"data/(weights/[\w.\-]+_weights|constants/[\w.\-]+_constants)_config\.json")
LEGACY = re.compile(
    r"version|extra_files/.+|serialized_(exported_program\.json|(state_dict|constants)\.(pt|json)|example_inputs\.pt)"
)
REFUSED_PARTS = {
    "data/aotinductor/": "compiled AOTInductor code",
    "data/executorch/": "an ExecuTorch program",
    "data/mtia": "compiled MTIA code",
    "xl_model_weights/": "weights of a remote net",
    "data/constants/custom_obj_": "a pickled custom object",
    "data/constants/opaque_obj_": "a pickled Python object",
}


@dataclass(frozen=True)
class Pt2File:
    """An exported program, and the plain texts that lay beside it (`extra_files` of torch.export.save)."""

    program: ExportedProgram
    extras: dict[str, str]


def read_exported_program(path: Path) -> Pt2File:
    """Read a .pt2 archive of torch 2.5 or newer without running anything from inside it, on the CPU.

    Raises:
        BadInput: not plain aten operators and plain weights, damaged, or written by a version torch no longer reads.
    """
    with open_archive(path) as archive:
        names = archive.namelist()
        root = "" if "serialized_exported_program.json" in names else root_folder(names)
        parts = _read_legacy(path, archive) if not root else _read_archive(path, archive, root)
    return Pt2File(_load(path, _packed(parts)), parts.extras)


@dataclass(frozen=True)
class _Parts:
    """What is taken over: the checked program, the weights and constants as raw bytes, sample inputs as values."""

    program: dict[str, Any]
    weights: RawTensors
    constants: RawTensors
    sample_inputs: Any
    extras: dict[str, str]


def _read_archive(path: Path, archive: zipfile.ZipFile, root: str) -> _Parts:
    names = {name.removeprefix(root) for name in archive.namelist()}
    extras = {name for name in names if name.startswith("extra/")}
    for name in sorted(names - extras):
        part = next((what for prefix, what in REFUSED_PARTS.items() if name.startswith(prefix)), None)
        if part or not any(form.fullmatch(name) for form in (HOUSEKEEPING, MODEL, PAYLOAD, CONFIG)):
            raise BadInput(
                f"{path}: holds {shown(name)} ({part or 'not part of a plain export'}); save the model with "
                f"torch.export.save(torch.export.export(model.eval(), (x,)), 'model.pt2')"
            )
    models = [found.group(1) for name in sorted(names) if (found := MODEL.fullmatch(name))]
    if len(models) != 1:
        raise BadInput(f"{path}: holds {len(models)} programs, edgekd takes one; save the one you mean by itself")
    if "byteorder" in names and read_member(path, archive, f"{root}byteorder", 16) != b"little":
        raise BadInput(f"{path}: written on a big-endian machine; export it on a little-endian one")

    def member(name: str, limit: int) -> bytes:
        if name not in names:
            raise BadInput(f"{path}: the part {shown(name)} is missing; export the model again")
        return read_member(path, archive, root + name, limit)

    def tensors(folder: str, kind: str) -> RawTensors:
        if f"data/{folder}/{models[0]}.pt" in names:
            return from_pickle(path, member(f"data/{folder}/{models[0]}.pt", MAX_WEIGHTS))
        config = json_member(path, member(f"data/{folder}/{models[0]}_{kind}_config.json", MAX_JSON))
        return from_config(path, config, lambda name: member(f"data/{folder}/{name}", MAX_WEIGHTS))

    inputs = f"data/sample_inputs/{models[0]}.pt"
    return _Parts(
        program=checked_program(path, member(f"models/{models[0]}.json", MAX_JSON)),
        weights=tensors("weights", "weights"),
        constants=tensors("constants", "constants"),
        sample_inputs=checked_inputs(path, member(inputs, MAX_WEIGHTS)) if inputs in names else None,
        extras=_extras(path, archive, [root + name for name in sorted(extras)]),
    )


def _read_legacy(path: Path, archive: zipfile.ZipFile) -> _Parts:
    """The layout of torch 2.5 to 2.7: four members at the top, of which three are pickles."""
    names = archive.namelist()
    for name in names:
        if not LEGACY.fullmatch(name):
            raise BadInput(f"{path}: holds {shown(name)}, which is not part of a plain export; export the model again")

    def member(stem: str) -> bytes:
        name = next((f"{stem}{suffix}" for suffix in (".pt", ".json") if f"{stem}{suffix}" in names), None)
        if name is None:
            raise BadInput(f"{path}: the part {stem!r} is missing; export the model again")
        return read_member(path, archive, name, MAX_WEIGHTS)

    return _Parts(
        program=checked_program(path, member("serialized_exported_program")),
        weights=from_pickle(path, member("serialized_state_dict")),
        constants=from_pickle(path, member("serialized_constants")),
        sample_inputs=checked_inputs(path, member("serialized_example_inputs")),
        extras=_extras(path, archive, [name for name in names if name.startswith("extra_files/")]),
    )


def _extras(path: Path, archive: zipfile.ZipFile, names: list[str]) -> dict[str, str]:
    """Extra files by their own names; what is large or no text is left where it is."""
    small = [name for name in names if archive.getinfo(name).file_size <= MAX_EXTRA]
    return {
        name.partition("extra")[2].partition("/")[2]: read_member(path, archive, name, MAX_EXTRA).decode(
            "utf-8", "replace"
        )
        for name in small
    }


def json_member(path: Path, content: bytes) -> Any:
    """Parse a JSON member.

    Raises:
        BadInput: it is no JSON.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: a configuration inside is damaged ({error}); export the model again") from error


def checked_inputs(path: Path, content: bytes) -> Any:
    """Read sample inputs with `weights_only=True`: tensors and plain values in tuples, lists and dictionaries.

    Raises:
        BadInput: reading them would run code, or they hold anything else.
    """
    if not content:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load fails with whatever the bytes led it to
        raise BadInput(
            f"{path}: its sample inputs are no plain tensors; reading them could run code, so refused"
        ) from error
    if not _plain(loaded):
        raise BadInput(f"{path}: its sample inputs hold more than tensors and plain values; export with tensors only")
    return loaded


def _plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, (str, int)) and _plain(inner) for key, inner in value.items())
    if isinstance(value, (tuple, list)):
        return all(_plain(inner) for inner in value)
    return value is None or type(value) in (torch.Tensor, torch.nn.Parameter, int, float, bool, str)


def _packed(parts: _Parts) -> io.BytesIO:
    """Write a fresh archive in the layout of torch 2.9 and newer, from checked values only."""
    inputs = io.BytesIO()
    torch.save(parts.sample_inputs, inputs)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:

        def write(name: str, content: bytes) -> None:
            archive.writestr(zipfile.ZipInfo(f"model/{name}"), content)

        for folder, prefix, kind, tensors in (
            ("weights", "weight", "weights", parts.weights),
            ("constants", "tensor", "constants", parts.constants),
        ):
            for index, content in enumerate(tensors.payloads):
                write(f"data/{folder}/{prefix}_{index}", content)
            write(f"data/{folder}/model_{kind}_config.json", json.dumps(tensors.config(prefix)).encode())
        write("models/model.json", json.dumps(parts.program).encode())
        write("data/sample_inputs/model.pt", inputs.getvalue() if parts.sample_inputs is not None else b"")
        for name, text in (("archive_format", "pt2"), ("archive_version", "0"), ("byteorder", "little")):
            write(name, text.encode())
        write(".data/version", b"6")
    buffer.seek(0)
    return buffer


def _load(path: Path, archive: io.BytesIO) -> ExportedProgram:
    try:
        with quiet_torch():
            program = torch.export.load(archive)
    except Exception as error:  # the deserializer fails with whatever the program led it to
        reason = reason_of(error)
        raise BadInput(
            f"{path}: torch {torch.__version__} cannot read this program ({reason}); export it again"
        ) from error
    for node in program.graph.nodes:
        plain = isinstance(node.target, torch._ops.OpOverload) and node.target.namespace == "aten"
        scalar = getattr(node.target, "__module__", "") in ("_operator", "math", "torch")
        if node.op not in ("placeholder", "output") and not (node.op == "call_function" and (plain or scalar)):
            raise BadInput(f"{path}: calls {shown(node.target)}, which is not a plain aten operator; export again")
    return program
