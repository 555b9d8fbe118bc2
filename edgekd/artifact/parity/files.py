"""Parity vectors: inputs with the outputs and answers that the pipeline has for them. Reading them from strangers.

`parity/parity.json` and plain .npy files (format 1.0, little endian, C order), which every language reads in 30 lines.
"""

import io
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError, field_validator

from edgekd.artifact.contract import Answer, Kind
from edgekd.artifact.parity.answers import Vector
from edgekd.errors import BadInput, reason_of
from edgekd.formats.zip_members import shown
from edgekd.record import Record
from edgekd.results_file import first_fault
from edgekd.runtimes import RUNTIMES
from edgekd.schemes.offered import NATIVE, PRECISION

FOLDER, FILE = "parity", "parity.json"
MAX_TEXT = 2**20
"""Bytes of parity.json; a real one has a few thousand."""
MAX_ARRAY = 2**28
"""Bytes of one array: eight images of 3 x 1024 x 1024 floats are 96 MiB."""
MAX_FILES = 64
"""Vectors, and outputs."""
DTYPES: dict[Kind, tuple[str, ...]] = {
    "image": ("uint8",),
    "sound": ("float32",),
    "tokens": ("int64",),
    "array": ("float32", "int64"),
}
"""What raw inputs are, as numpy calls it."""


class Tolerance(Record):
    """How far another machine may be from the expected values. 1 and more would let anything pass.

    input: of the model's input made from the raw one, relative to the largest value.
    output: of an output, relative to the largest that is expected of it.
    probability: of a class's probability or a box's score, absolute.
    box: of a box's coordinate, relative to the longer side of the raw image.
    """

    input: float = Field(gt=0, lt=1, strict=True)
    output: float = Field(gt=0, lt=1, strict=True)
    probability: float = Field(gt=0, lt=1, strict=True)
    box: float = Field(gt=0, lt=1, strict=True)


class Parity(Record):
    """parity.json. `reference` says where the expected outputs come from; `runtime` and `session` run model.onnx."""

    schema_version: Literal[1] = Field(alias="schema")
    reference: str
    runtime: str
    session: dict[str, str]
    kind: Kind
    answer: Answer
    outputs: tuple[str, ...] = Field(min_length=1, max_length=MAX_FILES)
    tolerance: Tolerance
    vectors: tuple[Vector, ...] = Field(min_length=1, max_length=MAX_FILES)

    @field_validator("runtime")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in RUNTIMES:
            raise ValueError(f"{shown(name)}, known: {', '.join(RUNTIMES)}")
        return name

    @field_validator("session")
    @classmethod
    def _precision_alone(cls, options: dict[str, str]) -> dict[str, str]:
        """Another option might have the runtime write files."""
        if options not in ({}, *({PRECISION: name} for name in NATIVE)):
            raise ValueError(f"{shown(options)}, a precision is wanted")
        return options


def read_parity(folder: Path) -> Parity:
    """Read parity.json of an artifact. Raises BadInput where it is missing, too large, or makes no sense."""
    path = folder / FOLDER / FILE
    try:
        return Parity.model_validate_json(read_bounded(path, MAX_TEXT))
    except ValidationError as error:
        raise BadInput(f"{path}: {first_fault(error)}; fetch the artifact again.") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = shown(reason_of(error))
        raise BadInput(f"{path} cannot be read as JSON ({reason}); fetch the artifact again.") from error


def read_tensors(folder: Path, parity: Parity) -> tuple[npt.NDArray[Any], list[npt.NDArray[np.float32]]]:
    """Return the model inputs float32 or int64 (vectors, ...) and the outputs expected, each float32 (vectors, ...)."""
    inputs = read_array(folder / FOLDER / "input.npy", "float32", "int64")
    outputs = [read_array(folder / FOLDER / f"output{at}.npy", "float32") for at in range(len(parity.outputs))]
    for name, array in (("input.npy", inputs), *((f"output{at}.npy", one) for at, one in enumerate(outputs))):
        if array.shape[:1] != (len(parity.vectors),) or not array.size:
            raise BadInput(
                f"{folder / FOLDER / name} has the shape {array.shape} for {len(parity.vectors)} vectors; fetch the "
                "artifact again."
            )
    return inputs, outputs


def read_raw(folder: Path, parity: Parity) -> list[npt.NDArray[Any]]:
    """Return what an app has, one array for each vector."""
    names = (f"raw{at}.npy" for at in range(len(parity.vectors)))
    return [read_array(folder / FOLDER / name, *DTYPES[parity.kind]) for name in names]


def read_array(path: Path, *dtypes: str) -> npt.NDArray[Any]:
    """Read one finite array of one of these types whose header says as many elements as there are bytes; nothing is
    unpickled. Raises BadInput."""
    try:
        data = read_bounded(path, MAX_ARRAY)
        stream = io.BytesIO(data)
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("format 1.0 is wanted")
        shape, in_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:  # the header is Python source, and reading it fails in as many ways
        raise BadInput(f"{path} is no array ({shown(reason_of(error))}); fetch the artifact again.") from error
    left, wanted = len(data) - stream.tell(), [np.dtype(one).newbyteorder("<") for one in dtypes]
    if dtype not in wanted or in_columns or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != left:
        raise BadInput(
            f"{path} says {shown(dtype)} of shape {shown(shape)} and holds {left} bytes; {' or '.join(dtypes)} by rows "
            "is wanted: fetch the artifact again."
        )
    array = np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape)
    if not np.isfinite(array).all():
        raise BadInput(f"{path} holds values that are not finite; fetch the artifact again.")
    return array


def read_bounded(path: Path, most: int) -> bytes:
    """The bytes of a regular file. Raises OSError or ValueError."""
    if path.is_symlink() or not path.is_file():
        raise OSError("missing or not a regular file")
    if path.stat().st_size > most:
        raise ValueError(f"more than {most} bytes")
    return path.read_bytes()


def relative_difference(expected: npt.NDArray[Any], said: npt.NDArray[Any]) -> float:
    """The largest difference, relative to the largest expected value; NaN where a value is none."""
    return float(np.abs(said - expected).max() / max(1e-12, float(np.abs(expected).max())))
