"""One exported file on the target's core, emulated: what one inference executes, and what its kernels answer."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgekd.benchmark_program import InputSpec
from edgekd.device import HOST, DeviceProfile
from edgekd.emulation.count import count
from edgekd.emulation.inputs import Array, input_specs
from edgekd.emulation.kit import find_kit
from edgekd.emulation.outputs import SHARE, emulated_outputs
from edgekd.errors import BadInput, UsageError
from edgekd.figures import Counted
from edgekd.formats.onnx_file import read_onnx
from edgekd.latency.counted import works_of
from edgekd.latency.optimised import summarise_file
from edgekd.latency.predictor import Prediction, predict_summary
from edgekd.places.emulated_work import emulated_core
from edgekd.progress import Listener, Tick, silent
from edgekd.runtimes import as_one

FIRST = 4
"""Runs of a model that tell how many more there is time for."""


@dataclass(frozen=True)
class EmulatedCore:
    """The core that plays a device's, with the device's version of ONNX Runtime."""

    name: str
    version: str

    @property
    def place(self) -> str:
        """As `bench --on` names it."""
        return f"emulate:{self.name}@{self.version}"


def core_for(profile: DeviceProfile) -> EmulatedCore:
    """Return what plays a device.

    Raises:
        UsageError: the device is this machine, or has no Arm processor.
        PlaceLost: the emulation kit is not there; the message says how to fetch it.
    """
    if profile.name == HOST:
        raise UsageError("--emulate is for devices that are not here, and host is measured; leave it out.")
    core = EmulatedCore(emulated_core(profile), profile.runtimes["onnxruntime"].version)
    find_kit(core.name, core.version)
    return core


def counted(path: Path, core: EmulatedCore, profile: DeviceProfile, one: Array) -> tuple[Prediction, Counted]:
    """Count one inference of a file on the input `one`, (1, ...), and turn it into the device's latency.

    It raises what `edgekd.emulation.count.count` does, and BadInput where the file's work cannot be summed up.
    """
    fed = _as_fed(one, _only_input(path))[0]
    counts = count(path, core=core.name, version=core.version, by_node=True, inputs=fed)
    summary = summarise_file(path, arm=True)
    prediction = predict_summary(summary, profile, counted=works_of(counts.nodes, summary))
    return prediction, Counted(place=core.place, by_class=dict(counts.instructions), note=counts.note)


def answers(
    path: Path,
    core: EmulatedCore,
    inputs: Callable[[int, int], Array],
    samples: int,
    *,
    seconds: float,
    every_output: bool = False,
    listen: Listener = silent,
) -> npt.NDArray[np.float32]:
    """Return what the core's kernels make of as many of the samples, in order, as they run in so many seconds of wall
    time, one process per processor of this machine.

    Args:
        inputs: begin and end to model inputs (end - begin, ...).
        every_output: return all outputs, joined as `edgekd.runtimes.as_one` does, instead of the first.

    Returns:
        float32 (n, ...): of at least `FIRST` runs, where there are so many samples.

    Raises what `edgekd.emulation.outputs.emulated_outputs` does, and BadInput for a model of several inputs.
    """
    spec = _only_input(path)
    batch, processes = spec.shape[0] or 1, os.cpu_count() or 1

    def share(begin: int, end: int) -> npt.NDArray[np.float32]:
        return as_one(every_answer(path, core, inputs(begin, end)), every_output)

    found: list[npt.NDArray[np.float32]] = []
    began, done, runs, runs_each = time.monotonic(), 0, FIRST, 0
    with ThreadPoolExecutor(processes) as pool:
        while done < samples and runs > 0:
            edges = sorted({min(samples, done + at * runs * batch) for at in range(processes + 1)})
            found += pool.map(share, edges[:-1], edges[1:])
            done, runs_each = edges[-1], runs_each + runs
            spent = time.monotonic() - began
            left = seconds - spent
            wanted = max(0.0, min(left, spent / done * (samples - done)))
            listen(Tick(f"samples on {core.name}", done, samples, path.name, wanted))
            runs = min(SHARE, int(left * runs_each / spent))
    return np.concatenate(found)


def every_answer(path: Path, core: EmulatedCore, inputs: Array) -> tuple[npt.NDArray[np.float32], ...]:
    """Return every output of the core's kernels for model inputs (n, ...), each float32 (n, ...).

    Raises as `answers` does.
    """
    said = emulated_outputs(path, _as_fed(inputs, _only_input(path)), core=core.name, version=core.version)
    return tuple(np.concatenate(one)[: len(inputs)].astype(np.float32) for one in zip(*said, strict=True))


def kernels_of(profile: DeviceProfile, runtime: str) -> Callable[[Path, Array], tuple[Array, ...]] | None:
    """Return `every_answer` of what plays a device, whose exceptions it raises; None for a runtime that is not
    emulated."""
    if runtime != "onnxruntime":
        return None
    core = core_for(profile)
    return lambda path, inputs: every_answer(path, core, inputs)


def _only_input(path: Path) -> InputSpec:
    specs = input_specs(path, read_onnx(path))
    if len(specs) != 1:
        raise BadInput(f"{path}: only a model of one input can be scored, this one has {len(specs)}.")
    return specs[0]


def _as_fed(inputs: Array, spec: InputSpec) -> list[list[Array]]:
    """Inputs (n, ...) as one run after the other takes them: as many as its batch holds, filled up with the last."""
    batch = spec.shape[0] or 1
    full = np.concatenate([inputs, np.repeat(inputs[-1:], -len(inputs) % batch, axis=0)]).astype(spec.dtype)
    return [[full[at : at + batch]] for at in range(0, len(full), batch)]
