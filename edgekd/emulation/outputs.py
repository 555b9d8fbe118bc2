"""A model's outputs as an emulated core's kernels compute them."""

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.emulation.emulator import emulate
from edgekd.emulation.inputs import ELEMENT_TYPES, Array, told
from edgekd.emulation.kit import find_kit
from edgekd.errors import EdgekdError
from edgekd.progress import Listener, Tick, silent

SHARE = 64
"""Samples that one emulated process runs: enough that its start hardly counts, few enough to tell progress."""
_DTYPES = {number: np.dtype(name) for name, number in ELEMENT_TYPES.items()}


def emulated_outputs(
    model: Path,
    samples: Sequence[Sequence[Array]],
    *,
    core: str,
    version: str,
    session: Mapping[str, Any] | None = None,
    listen: Listener = silent,
) -> list[tuple[Array, ...]]:
    """Run a model on each of many samples by ONNX Runtime `version` on an emulated `core`, one thread.

    Args:
        model: a sound ONNX file; a stranger's goes through `read_onnx` first.
        samples: for each sample one array per input of the model, all samples of the same shapes and types.
        listen: told after every share of 64 samples.

    Returns:
        For each sample, every output of the model.

    Raises:
        UsageError: an unknown core or version.
        PlaceLost: the emulation kit is not there; the message says how to fetch it.
        BadInput: the runtime refuses the model or the inputs.
        EdgekdError: the emulated program died.
    """
    kit = find_kit(core, version)
    began = time.monotonic()
    found: list[tuple[Array, ...]] = []
    for at in range(0, len(samples), SHARE):
        share = samples[at : at + SHARE]
        with tempfile.TemporaryDirectory(prefix="edgekd-outputs-") as scratch:
            inputs, outputs = Path(scratch, "inputs"), Path(scratch, "outputs")
            with inputs.open("wb") as file:
                file.writelines(array.tobytes() for sample in share for array in sample)
            emulate(
                kit,
                model,
                library=kit.library,
                inputs=inputs,
                tensors=told(share[0]),
                samples=len(share),
                session=session,
                outputs=outputs,
            )
            values = list(_read(outputs.read_bytes()))
        each, rest = divmod(len(values), len(share))
        if rest:
            raise EdgekdError(f"{model}: the emulated {core} wrote {len(values)} outputs for {len(share)} samples.")
        found += [tuple(values[index * each : (index + 1) * each]) for index in range(len(share))]
        left = (time.monotonic() - began) / len(found) * (len(samples) - len(found))
        listen(Tick(f"samples on {core}", len(found), len(samples), seconds_left=left))
    return found


def _read(data: bytes) -> Iterable[Array]:
    """Read the tensors that the runner writes one after the other."""
    at = 0
    while at < len(data):
        element, rank = np.frombuffer(data, "<i4", 2, at).tolist()
        shape = np.frombuffer(data, "<i8", rank, at + 8).tolist()
        at += 8 + 8 * rank
        array = np.frombuffer(data, _DTYPES[element], int(np.prod(shape)), at).reshape(shape)
        at += array.nbytes
        yield array
