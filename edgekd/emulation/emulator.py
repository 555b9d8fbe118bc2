"""One run of the runner under QEMU, and in one sentence why it failed if it did."""

import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd.emulation.kit import Kit
from edgekd.errors import BadInput, EdgekdError
from edgekd.runtimes import in_one_line
from edgekd.system_programs import run_quietly

_LIMIT_SECONDS = 3600
_CAUSES = {
    signal.SIGILL: "the runtime met an instruction that this core does not have",
    signal.SIGSEGV: "the runtime crashed on this model",
    signal.SIGABRT: "the runtime gave up on this model",
    signal.SIGKILL: "most likely the memory ran out",
}


def emulate(
    kit: Kit,
    model: Path,
    *,
    library: Path,
    inputs: Path,
    tensors: Sequence[str],
    samples: int = 1,
    warmup: int = 0,
    threads: int = 1,
    session: Mapping[str, Any] | None = None,
    outputs: Path | None = None,
    profile: Path | None = None,
    marks: Path | None = None,
) -> list[str]:
    """Run a model on a kit's core and return the lines the runner printed; its source describes the arguments.

    `marks` is the file for the counting plugin; without it nothing is counted.

    Raises:
        BadInput: the runtime refuses the model or the inputs.
        EdgekdError: the emulated program died.
    """
    # Threads that wait for work by looking for it execute instructions that do nothing.
    entries = {"session.intra_op.allow_spinning": "0", **(session or {})}
    files = {"library": library, "model": model.absolute(), "inputs": inputs, "outputs": outputs, "profile": profile}
    arguments = [f"{key}={value}" for key, value in files.items() if value is not None]
    arguments += [f"samples={samples}", f"warmup={warmup}", f"threads={threads}", *tensors]
    arguments += [f"entry={key}={value}" for key, value in entries.items()]
    plugin = f"{kit.plugin},out={marks},vcpus={int(threads > 1)}" if marks else ""
    command = kit.qemu.command(kit.core.cpu, sysroot=kit.sysroot, plugin=plugin)
    try:
        words = [*command, str(kit.runner), *arguments]
        done = run_quietly(words, environment=kit.qemu.environment(), seconds=_LIMIT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise EdgekdError(f"{model}: the emulation was stopped after {_LIMIT_SECONDS} s without an end.") from error
    if done.returncode == 2:
        raise BadInput(f"{model}: ONNX Runtime {kit.version} for AArch64 does not run it: {in_one_line(done.stderr)}")
    if done.returncode:
        raise EdgekdError(f"{model}: the emulated {kit.core.name} stopped: {_why(done.returncode, done.stderr)}.")
    return done.stdout.splitlines()


def _why(code: int, stderr: str) -> str:
    """QEMU dies of the signal that the emulated program dies of."""
    if code < 0 and signal.Signals(-code) in _CAUSES:
        return f"{_CAUSES[signal.Signals(-code)]} ({signal.Signals(-code).name})"
    return f"exit code {code}, {in_one_line(stderr)}"
