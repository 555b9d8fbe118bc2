"""Arrays of images or of ready-made inputs in one file: x_train, y_train [, x_val, y_val, x_test, y_test, classes].

Beside labels there may be x_unlabelled: further samples to train on.
"""

import tokenize
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.data.classes import listed
from edgekd.data.source import (
    SPLIT_NAMES,
    UNLABELLED,
    Labels,
    Part,
    Source,
    as_labels,
    as_ready,
    is_image,
    unlabelled_among,
)
from edgekd.errors import BadInput, EdgekdError

KNOWN = (
    "classes",
    *(f"{axis}_{split}" for split in SPLIT_NAMES for axis in "xy"),
    *(f"x_{name}" for name in UNLABELLED),
)
# What zipfile and numpy raise on damaged, encrypted, pickled or unknown content.
BROKEN = (
    *(OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),
    *(TypeError, OverflowError, SyntaxError, tokenize.TokenError),
)
FORM = (
    "images are uint8 (n, height, width, channels), or (n, height, width) for grey; other inputs are floats or "
    "integers (n, ...) as the model takes them"
)


def read_npz(source: str) -> Source:
    """Check an .npz file's arrays by their headers; inputs are read when they are first asked for.

    Nothing is unpickled. Raises BadInput where the file is broken, an array is missing, has the wrong type or shape,
    or labels and inputs differ in number.
    """
    path = Path(source)
    headers = _headers(path)
    if "x_train" not in headers:
        raise BadInput(f"{str(path)!r} holds {listed(sorted(headers))} but no x_train; known: {', '.join(KNOWN)}")
    for split in SPLIT_NAMES:
        if f"y_{split}" in headers and f"x_{split}" not in headers:
            raise BadInput(f"{str(path)!r} has y_{split} but no x_{split}: labels without inputs")
    splits = [split for split in SPLIT_NAMES if f"x_{split}" in headers]
    labelled = {split: f"y_{split}" in headers for split in splits}
    if len(set(labelled.values())) > 1:
        lacking = next(split for split in splits if not labelled[split])
        raise BadInput(f"{str(path)!r} has labels but no y_{lacking}; give labels for every split, or for none")
    parts = {split: _part(path, split, headers, labelled[split]) for split in splits}
    more = unlabelled_among((name.removeprefix("x_") for name in KNOWN if name in headers), repr(str(path)))
    unlabelled = _part(path, more, headers, False) if more else None
    _same_shape(path, {name: headers[name] for name in KNOWN if name.startswith("x_") and name in headers})
    unread = sorted(name for name in headers if name not in KNOWN)
    notes = (f"arrays not read: {listed(unread)}",) if unread else ()
    classes = _classes(path) if "classes" in headers else None
    return Source("npz", parts, labelled["train"], classes, notes, unlabelled=unlabelled)


def _headers(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and type of every array, without reading any."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {n.removesuffix(".npy"): _header(archive, n) for n in archive.namelist() if n.endswith(".npy")}
    except BROKEN as error:
        raise BadInput(f"{str(path)!r} cannot be read as .npz: {error}") from error


def _header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with archive.open(name) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
    return shape, dtype


def _array(path: Path, name: str) -> npt.NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return np.asarray(arrays[name])
    except MemoryError as error:
        raise EdgekdError(f"{name} of {str(path)!r} does not fit into memory; give the data by file.py:make") from error
    except BROKEN as error:
        raise BadInput(f"{name} of {str(path)!r} cannot be read: {error}") from error


def read_npy(source: str) -> Source:
    """Check a single array of inputs, which are unlabelled and all train. Raises BadInput as `read_npz`."""
    path = Path(source)
    try:
        with np.errstate(over="ignore"):
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("it holds several arrays; call it .npz")
    except BROKEN as error:
        raise BadInput(f"{str(path)!r} cannot be read as .npy: {error}") from error
    part = _inputs(array.shape, array.dtype, lambda: array, repr(str(path)), name=path.stem, labels=None)
    return Source("npy", {"train": part}, False)


def _part(path: Path, split: str, headers: dict[str, Any], labelled: bool) -> Part:
    shape, dtype = headers[f"x_{split}"]
    load = cache(lambda: _array(path, f"x_{split}"))
    where = f"x_{split} of {str(path)!r}"
    labels = as_labels(_array(path, f"y_{split}"), f"y_{split} of {str(path)!r}", shape[0]) if labelled else None
    return _inputs(shape, dtype, load, where, name=f"x_{split}", labels=labels)


def _inputs(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    load: Callable[[], npt.NDArray[Any]],
    where: str,
    *,
    name: str,
    labels: Labels | None,
) -> Part:
    if dtype.kind not in "iuf" or len(shape) < 2:
        raise BadInput(f"{where} is {dtype} of shape {shape}; {FORM}")
    if 0 in shape:
        raise BadInput(f"{where} has shape {shape}, which holds no values; {FORM}")
    image = is_image(dtype, len(shape) - 1)
    if image and len(shape) == 4 and shape[3] > 4 and shape[1] in (1, 3):
        raise BadInput(f"{where} has shape {shape}, channels first; {FORM}: transpose it by (0, 2, 3, 1)")
    return Part(
        count=shape[0],
        fetch=(lambda at: load()[at]) if image else (lambda at: as_ready(load()[at])),
        name=lambda at: f"{name}[{at}]",
        labels=lambda: labels,
        look=(lambda at: (shape[1], shape[2], (*shape, 1)[3])) if image else None,
    )


def _same_shape(path: Path, found: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> None:
    """Splits may differ in image size, which resizing mends, but in nothing else."""
    if all(is_image(dtype, len(shape) - 1) for shape, dtype in found.values()):
        same = {name: f"{(*shape, 1)[3]} channels" for name, (shape, _) in found.items()}
    else:
        same = {
            name: f"{_kind_of(dtype)} (n, {', '.join(map(str, shape[1:]))})" for name, (shape, dtype) in found.items()
        }
    if len(set(same.values())) > 1:
        told = ", ".join(f"{name} {what}" for name, what in same.items())
        raise BadInput(f"{str(path)!r}: splits differ: {told}; store them alike")


def _kind_of(dtype: np.dtype[Any]) -> str:
    return "floats" if dtype.kind == "f" else "integers"


def _classes(path: Path) -> tuple[str, ...]:
    names = _array(path, "classes")
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise BadInput(f"classes of {str(path)!r} is {names.dtype} of shape {names.shape}; give a list of names")
    return tuple(n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in names.tolist())
