"""The runtimes that an exported file can run in, and scoring many inputs with one of them.

Models are opened by the functions that the benchmark uses, so what is scored is what is timed.
"""

import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.benchmark_program import InputSpec, Session, open_onnxruntime, open_openvino
from edgekd.errors import BadInput, UsageError, did_you_mean

__all__ = [
    "RUNTIMES",
    "InputSpec",
    "Runtime",
    "Session",
    "as_one",
    "find_runtime",
    "in_one_line",
    "predict_all",
    "predict_batches",
]

SHARE = 32
"""Inputs run at once where the graph leaves the batch open."""


@dataclass(frozen=True)
class Runtime:
    """One way to run an ONNX file on a CPU."""

    name: str
    """What is imported, what is installed, and what the user calls it."""
    install: str
    """The command that brings it."""
    load: Callable[[str, int, dict[str, Any]], Session]

    def available(self) -> bool:
        """Whether it is installed, found out without importing it."""
        return importlib.util.find_spec(self.name) is not None

    def version(self) -> str:
        """Installed version, such as "1.31.1"."""
        return importlib.metadata.version(self.name)

    def open(self, path: Path, *, threads: int = 1, options: Mapping[str, Any] | None = None) -> Session:
        """Load a model. Raises BadInput with the runtime's own words where it refuses the file.

        A stranger's file goes through `edgekd.formats.onnx_file.read_onnx` first, which checks its external data.
        """
        try:
            return self.load(str(path), threads, dict(options or {}))
        except Exception as error:  # whatever a runtime raises
            words = in_one_line(str(error))
            raise BadInput(f"{path}: {self.name} {self.version()} does not load it: {words}") from error


def in_one_line(message: str, limit: int = 300) -> str:
    """Return a runtime's message as one printable line, shortened, without its error codes and C++ source positions."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    told = [line for line in lines if not line.endswith(":") and not line.startswith(("Exception from", "Check '"))]
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(told or lines) or "no message")
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def find_runtime(name: str) -> Runtime:
    """Return a runtime by name. Raises UsageError where there is no such runtime, or it is not installed."""
    runtime = runtime_named(name)
    if not runtime.available():
        raise UsageError(f"The runtime {name} is not installed; install it with: {runtime.install}")
    return runtime


def runtime_named(name: str) -> Runtime:
    """Return a runtime by name, installed here or not. Raises UsageError where there is no such runtime."""
    if name not in RUNTIMES:
        raise UsageError(f"There is no runtime {name!r}{did_you_mean(name, RUNTIMES)}")
    return RUNTIMES[name]


def predict_batches(
    path: Path,
    inputs: Iterable[npt.NDArray[Any]],
    *,
    every_output: bool = False,
    runtime: str = "onnxruntime",
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> npt.NDArray[np.float32]:
    """Run a model over many inputs, as `predict_all` does, and return its first output, float32 (total, ...).

    With `every_output` all are returned: several side by side along the last dimension where they differ in that alone,
    else flattened to (total, values).
    """
    return as_one(predict_all(path, inputs, runtime=runtime, threads=threads, options=options), every_output)


def as_one(outputs: Sequence[npt.NDArray[np.float32]], every_output: bool) -> npt.NDArray[np.float32]:
    """The first of the outputs (total, ...) of a model, or all of them as `predict_batches` returns them."""
    if not every_output or len(outputs) == 1:
        return outputs[0]
    side_by_side = outputs[0].ndim > 1 and len({output.shape[:-1] for output in outputs}) == 1
    return np.concatenate(outputs if side_by_side else [o.reshape(len(o), -1) for o in outputs], axis=-1)


def predict_all(
    path: Path,
    inputs: Iterable[npt.NDArray[Any]],
    *,
    runtime: str = "onnxruntime",
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[npt.NDArray[np.float32], ...]:
    """Run a model of one input over many inputs and return every output in order, each float32 (total, ...).

    `inputs` are batches (batch, ...) of any size. They are run in shares of the graph's batch, or of 32 where that is
    symbolic, so that the result does not depend on the machine; `threads` shares at a time (default: one per core) with
    one thread each, for the runtimes release the GIL while they run. A share that is too small for a static batch is
    padded with its last input, and what comes out for the padding is dropped. Raises BadInput where the file does not
    load, has not one input, or does not take these.
    """
    session = find_runtime(runtime).open(path, threads=1, options=options)
    if len(session.inputs) != 1:
        raise BadInput(f"{path}: only a model of one input can be scored, this one has {len(session.inputs)}.")
    static = next(iter(session.inputs[0].shape), None)
    size = static or SHARE
    dtype = np.dtype(session.inputs[0].dtype)

    def run(share: npt.NDArray[Any]) -> list[npt.NDArray[np.float32]]:
        missing = max(0, (static or 0) - len(share))
        full = np.concatenate([share, np.repeat(share[-1:], missing, axis=0)])
        try:
            results = session.run([full.astype(dtype, copy=False)])
        except Exception as error:  # whatever a runtime raises
            raise BadInput(f"{path}: {runtime} does not run it: {in_one_line(str(error))}") from error
        return [np.asarray(result[: len(share)], np.float32) for result in results]

    shares: list[list[npt.NDArray[np.float32]]] = []
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        for batch in inputs:
            shares += pool.map(run, [batch[at : at + size] for at in range(0, len(batch), size)])
    if not shares:
        raise BadInput(f"{path}: there is not one input to run it on.")
    return tuple(np.concatenate(output) for output in zip(*shares, strict=True))


RUNTIMES: dict[str, Runtime] = {
    "onnxruntime": Runtime("onnxruntime", "pip install onnxruntime", open_onnxruntime),
    "openvino": Runtime("openvino", "pip install 'edgekd[openvino]'", open_openvino),
}
