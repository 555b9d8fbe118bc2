"""ONNX Runtime's own format: a graph as the target's instruction set takes it, already optimised.

An app that loads it needs no optimiser, can map the file instead of copying its weights, and can be built with a
runtime of its operators alone (`edgekd.artifact.runtimes.reduced_build`). The order of one table in it is the
runtime's chance, so two files of one model differ in some bytes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from onnx.external_data_helper import uses_external_data

from edgekd.device import HOST, DeviceProfile
from edgekd.emulated_figures import EmulatedCore
from edgekd.emulation.outputs import emulated_outputs
from edgekd.errors import BadInput, EdgekdError
from edgekd.external_data import data_file
from edgekd.latency.optimised import ARM_DECISIONS
from edgekd.numerics import is_arm
from edgekd.runtimes import RUNTIMES, in_one_line

ORT_FILE = "model.ort"
MAPPED_FILE = "model.mapped.onnx"
ALIKE = 1e-3
"""Largest difference of an output in that format, relative to the largest of the ONNX file's."""
MAPPED = {"session.use_memory_mapped_ort_model": "1", "session.use_ort_model_bytes_for_initializers": "1"}
"""Session config entries with which the file is mapped, and weights that no kernel packs are used where they lie. The
first alone saves nothing: weights are then copied out of the map. They lie there at any multiple of four, which costs
float convolutions on AVX-512 about 5 % of their time. A runtime that does not know it reads the file."""
_LEAST_MAPPED = 1024
"""Bytes of the smallest weights that lie outside the graph's file."""
_BLOCKS_OF_CHANNELS = "NchwcTransformer"
"""Its blocks are as long as this machine's vectors; another machine's kernels read them wrong."""


def write_ort(model: Path, out: Path, *, profile: DeviceProfile, given: npt.NDArray[Any]) -> None:
    """Write an ONNX file of one input as ONNX Runtime optimises it for a device's instruction set.

    For this machine that includes the layout of its own vectors, for others none but what all of their kind share.

    Args:
        given: one input, on which both files must compute the same here.

    Raises:
        BadInput: the model keeps its weights beside it, for which this format has no place; or ONNX Runtime does not
            convert it; or what it wrote computes something else. Then there is no `out`.
    """
    if _keeps_weights_beside(model):
        raise BadInput(f"{model.name} keeps its weights beside it, for which ONNX Runtime's own format has no place.")
    _write(model, out, {"session.save_model_format": "ORT"}, profile, given)


def write_mapped(model: Path, out: Path, *, profile: DeviceProfile, given: npt.NDArray[Any]) -> None:
    """Write the same as ONNX, its weights in `data_file(out)`: the runtime maps those, where they lie at multiples that
    its kernels read fast, and copies none that no kernel packs. Raises BadInput as `write_ort` does."""
    data = data_file(out)
    entries = {
        "session.optimized_model_external_initializers_file_name": data.name,
        "session.optimized_model_external_initializers_min_size_in_bytes": str(_LEAST_MAPPED),
    }
    try:
        _write(model, out, entries, profile, given)
    except EdgekdError:
        data.unlink(missing_ok=True)
        raise


def _write(model: Path, out: Path, entries: dict[str, str], profile: DeviceProfile, given: npt.NDArray[Any]) -> None:
    decisions = {ARM_DECISIONS: str(int(is_arm(profile.isa)))}
    runtime = RUNTIMES["onnxruntime"]
    try:
        _convert(model, out, {**entries, **decisions}, own=profile.name == HOST)
        expected = runtime.open(model, options=decisions).run([given])
        _refuse_another_answer(model, expected, runtime.open(out, options=decisions).run([given]))
    except EdgekdError:
        out.unlink(missing_ok=True)
        raise
    except Exception as error:  # whatever the runtime raises
        out.unlink(missing_ok=True)
        raise BadInput(
            f"{model.name} cannot be written as ONNX Runtime {runtime.version()} optimises it: "
            f"{in_one_line(str(error))}"
        ) from error


def _keeps_weights_beside(model: Path) -> bool:
    try:
        graph = onnx.load(model, load_external_data=False).graph
    except DecodeError as error:
        raise BadInput(f"{model.name} is no ONNX file, or a truncated one; export it again.") from error
    return any(uses_external_data(tensor) for tensor in graph.initializer)


def compare_on(core: EmulatedCore, model: Path, own: Path, given: npt.NDArray[Any]) -> None:
    """Run an ONNX file and the same in ONNX Runtime's own format on an emulated core, by the device's version.

    Raises:
        BadInput: that version refuses one of them, or they compute something different.
        PlaceLost, EdgekdError: as `edgekd.emulation.outputs.emulated_outputs` does.
    """
    [expected], [said] = (
        emulated_outputs(path, [[given]], core=core.name, version=core.version) for path in (model, own)
    )
    _refuse_another_answer(model, expected, said)


def _convert(model: Path, out: Path, entries: dict[str, str], *, own: bool) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(out)
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    left_out = None if own else {_BLOCKS_OF_CHANNELS}
    onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"], disabled_optimizers=left_out)


def _refuse_another_answer(model: Path, expected: Sequence[npt.NDArray[Any]], said: Sequence[npt.NDArray[Any]]) -> None:
    for right, found in zip(expected, said, strict=True):
        same = right.shape == found.shape and np.allclose(
            found.astype(np.float64), right, rtol=0, atol=ALIKE * max(float(np.abs(right).max(initial=0)), 1e-12)
        )
        if not same:
            raise BadInput(f"{model.name} computes something else as ONNX Runtime optimised it, so that is left out.")


WRITE: dict[str, Callable[..., None]] = {ORT_FILE: write_ort, MAPPED_FILE: write_mapped}
"""What ONNX Runtime writes of model.onnx, by the name of the file."""
