"""Run the benchmark program in a fresh process, and say in one sentence how it died if it did."""

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from edgekd import benchmark_program
from edgekd.errors import BadInput, EdgekdError
from edgekd.runtimes import in_one_line

PROGRAM = Path(benchmark_program.__file__)

STAGES = {"import": "importing the runtime", "load": "loading the model", "first": "the first run", "steady": "timing"}

CAUSES = {
    "SIGILL": "the installed runtime uses instructions that this CPU lacks; install another version of it",
    "SIGKILL": "most likely the memory ran out; free some, or take a smaller model",
    "SIGSEGV": "the runtime crashed on this model; try another runtime or version",
    "SIGABRT": "the runtime gave up on this model; try another runtime or version",
    "SIGBUS": "the model file changed or vanished while it was mapped; run it again",
}


def run_program(spec: dict[str, Any]) -> dict[str, Any]:
    """Run the benchmark program on `spec` and return its result, both as the program's docstring describes them.

    Raises BadInput where a runtime refuses a model, and EdgekdError where the process is killed or hangs.
    """
    names = " and ".join(dict.fromkeys(model["path"] for model in spec["models"]))
    with tempfile.TemporaryDirectory(prefix="edgekd-bench-") as folder:
        spec_path, result_path = Path(folder, "spec.json"), Path(folder, "result.json")
        spec_path.write_text(json.dumps(spec), encoding="utf-8")
        # -P: the folder of the program is no place to import from; a file there may be called like a library.
        command = [sys.executable, "-P", str(PROGRAM), str(spec_path), str(result_path)]
        limit = 300 + 4 * spec["max_seconds"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=limit, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired as error:
            raise EdgekdError(f"{names}: the benchmark was stopped after {limit:.0f} s without an end.") from error
        result = json.loads(result_path.read_text(encoding="utf-8")) if result_path.exists() else {}
    if "error" in result:
        runtimes = " or ".join(sorted({model["runtime"] for model in spec["models"]}))
        where = STAGES.get(result.get("stage", ""), "starting")
        raise BadInput(f"{names}: {runtimes} fails at {where}: {in_one_line(result['error'])}")
    if done.returncode != 0 or result.get("stage") != "done":
        raise EdgekdError(f"{names}: {death(done.returncode, done.stderr, result)}.")
    return dict(result)


def death(code: int, stderr: str, result: dict[str, Any]) -> str:
    """Say how a benchmark process ended too early: signal or exit code, when, with how much memory, likely why."""
    where = STAGES.get(result.get("stage", ""), "starting")
    if code < 0:
        name = signal.Signals(-code).name
        why = CAUSES.get(name, "something outside ended it; run it again")
    else:
        name, why = f"exit code {code}", in_one_line(stderr)
    memory = result.get("memory", {})
    peak = f", having reached {max(memory.values()) / 1024:.0f} MiB before" if memory else ""
    return f"the benchmark process died ({name}) at {where}{peak}: {why}"
