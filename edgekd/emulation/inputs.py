"""What an emulated run is fed: raw tensors in a file, and their types and shapes as the runner wants them told."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgekd.benchmark_program import InputSpec, made_up_input
from edgekd.errors import BadInput
from edgekd.formats.onnx_file import onnx_inputs

Array = npt.NDArray[Any]

ELEMENT_TYPES = {
    **{"float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7},
    **{"bool": 9, "float16": 10, "float64": 11, "uint32": 12, "uint64": 13},
}
"""numpy's names of types to ONNX's numbers."""


def input_specs(path: Path, model: onnx.ModelProto) -> tuple[InputSpec, ...]:
    """Return the inputs of a model in order. Raises BadInput where one is no tensor of known rank."""
    specs = []
    for value in onnx_inputs(model):
        if value.shape is None or value.dtype not in ELEMENT_TYPES:
            raise BadInput(
                f"{path}: its input {value.name[:80]!r} is no tensor of numbers of a known rank; export it again."
            )
        sizes = tuple(size if isinstance(size, int) else None for size in value.shape)
        specs.append(InputSpec(value.name, value.dtype, sizes))
    return tuple(specs)


def made_up(path: Path, specs: Sequence[InputSpec], seed: int) -> list[Array]:
    """Draw one sample, the same as a benchmark on this machine is fed. Raises BadInput for free sizes."""
    rng = np.random.default_rng(seed)
    try:
        return [made_up_input(spec, rng) for spec in specs]
    except ValueError as error:
        raise BadInput(f"{path}: {error}.") from error


def told(arrays: Sequence[Array]) -> list[str]:
    """Return the runner's arguments for the inputs of one sample: ONNX element type and sizes."""
    return [f"tensor={ELEMENT_TYPES[array.dtype.name]}:{','.join(map(str, array.shape))}" for array in arrays]
