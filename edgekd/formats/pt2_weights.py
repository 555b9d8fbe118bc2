"""Weights and constants of a .pt2 archive as raw bytes and layouts, checked to lie inside their payloads."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edgekd.errors import BadInput
from edgekd.formats.pt2_json import PATH_NAME
from edgekd.formats.zip_members import shown

DTYPES: dict[int, torch.dtype] = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
"""ScalarType of torch/_export/serde/schema.py: the dtypes that a plain model's weights have."""
STRIDED = 7
"""Layout.Strided of the same schema."""
PAYLOAD_NAME = re.compile(r"(weight|tensor)_\d+")


@dataclass(frozen=True)
class Layout:
    """Where one tensor lies: payload number, dtype code, sizes and strides in elements."""

    payload: int
    dtype: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    is_parameter: bool
    requires_grad: bool


@dataclass(frozen=True)
class RawTensors:
    """Tensors by name over shared payloads; tensors that shared memory in the file still do."""

    layouts: dict[str, Layout]
    payloads: list[bytes]

    def config(self, prefix: str) -> dict[str, Any]:
        """The JSON that torch.export's archive keeps beside the payloads `prefix_0`, `prefix_1`, ..."""
        return {"config": {name: _entry(layout, f"{prefix}_{layout.payload}") for name, layout in self.layouts.items()}}


def _entry(layout: Layout, path_name: str) -> dict[str, Any]:
    return {
        "path_name": path_name,
        "is_param": layout.is_parameter,
        "use_pickle": False,
        "tensor_meta": {
            "dtype": layout.dtype,
            "sizes": [{"as_int": size} for size in layout.sizes],
            "requires_grad": layout.requires_grad,
            "device": {"type": "cpu", "index": None},
            "strides": [{"as_int": stride} for stride in layout.strides],
            "storage_offset": {"as_int": layout.offset},
            "layout": STRIDED,
        },
    }


def from_config(path: Path, config: Any, read: Callable[[str], bytes]) -> RawTensors:
    """Take over the tensors that a payload configuration lists; `read` returns one payload by its name.

    Raises:
        BadInput: a pickled, device-specific or out-of-bounds tensor.
    """
    layouts: dict[str, Layout] = {}
    order: dict[str, int] = {}
    payloads: list[bytes] = []
    try:
        for name, entry in config["config"].items():
            payload = entry["path_name"]
            if entry["use_pickle"] or not PAYLOAD_NAME.fullmatch(payload):
                raise BadInput(f"{path}: the tensor {shown(name)} is pickled, so reading it could run code; refused")
            if not PATH_NAME.fullmatch(name):
                raise BadInput(f"{path}: the tensor name {shown(name)} is not plain; rename it and export again")
            if payload not in order:
                order[payload] = len(payloads)
                payloads.append(read(payload))
            layouts[name] = _layout(entry, order[payload])
            _check_bounds(path, name, layouts[name], len(payloads[order[payload]]))
    except BadInput:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"{path}: its list of weights is damaged ({shown(error)}); export the model again") from error
    return RawTensors(layouts, payloads)


def _layout(entry: dict[str, Any], payload: int) -> Layout:
    meta = entry["tensor_meta"]
    return Layout(
        payload=payload,
        dtype=int(meta["dtype"]),
        sizes=tuple(int(size["as_int"]) for size in meta["sizes"]),
        strides=tuple(int(stride["as_int"]) for stride in meta["strides"]),
        offset=int(meta["storage_offset"]["as_int"]),
        is_parameter=bool(entry["is_param"]),
        requires_grad=bool(meta["requires_grad"]),
    )


def _check_bounds(path: Path, name: str, layout: Layout, available: int) -> None:
    if layout.dtype not in DTYPES:
        raise BadInput(f"{path}: the tensor {shown(name)} has a dtype that is no plain number; export in float32")
    if len(layout.sizes) != len(layout.strides) or min((0, layout.offset, *layout.sizes, *layout.strides)) < 0:
        raise BadInput(f"{path}: the tensor {shown(name)} has an impossible layout; export the model again")
    last = sum((size - 1) * stride for size, stride in zip(layout.sizes, layout.strides, strict=True))
    needed = 0 if 0 in layout.sizes else (layout.offset + last + 1) * DTYPES[layout.dtype].itemsize
    if needed > available or available % DTYPES[layout.dtype].itemsize:
        raise BadInput(
            f"{path}: the tensor {shown(name)} needs {needed} bytes where {available} lie; copy or export it again"
        )


def from_pickle(path: Path, content: bytes) -> RawTensors:
    """Take over tensors from the pickled dictionaries of older archives, read with `weights_only=True`.

    Raises:
        BadInput: reading would run code, or something else than tensors is in it.
    """
    if not content:
        return RawTensors({}, [])
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load fails with whatever the bytes led it to
        raise BadInput(f"{path}: its weights are no plain tensors; reading them could run code, so refused") from error
    if not isinstance(loaded, dict):
        raise BadInput(f"{path}: its weights are a {type(loaded).__name__}, not tensors by name; export it again")
    codes = {dtype: code for code, dtype in DTYPES.items()}
    layouts: dict[str, Layout] = {}
    order: dict[int, int] = {}
    payloads: list[bytes] = []
    for name, tensor in loaded.items():
        plain = type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout is torch.strided
        if not plain or tensor.dtype not in codes or not PATH_NAME.fullmatch(str(name)):
            raise BadInput(f"{path}: {shown(name)} among its weights is no plain tensor; export the model again")
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in order or not storage.nbytes():
            order[storage.data_ptr()] = len(payloads)
            payloads.append(_storage_bytes(storage) if storage.nbytes() else b"")
        layouts[str(name)] = Layout(
            payload=order[storage.data_ptr()],
            dtype=codes[tensor.dtype],
            sizes=tuple(tensor.shape),
            strides=tensor.stride(),
            offset=int(tensor.storage_offset()),
            is_parameter=isinstance(tensor, torch.nn.Parameter),
            requires_grad=tensor.requires_grad,
        )
    return RawTensors(layouts, payloads)


def _storage_bytes(storage: torch.UntypedStorage) -> bytes:
    flat = torch.empty(0, dtype=torch.uint8).set_(storage)
    return bytes(flat.numpy().tobytes())
