"""Run the benchmark program in a fresh process on a place, and say in one sentence how it died if it did."""

import json
import logging
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from edgekd import benchmark_program
from edgekd.errors import BadInput, EdgekdError
from edgekd.places.host import PLACE
from edgekd.places.place import Finished, Place, disk_full, persistently
from edgekd.runtimes import in_one_line

log = logging.getLogger(__name__)

PROGRAM = Path(benchmark_program.__file__)

STAGES = {"import": "importing the runtime", "load": "loading the model", "first": "the first run", "steady": "timing"}

CAUSES = {
    "SIGILL": "the installed runtime uses instructions that this CPU lacks; install another version of it",
    "SIGKILL": "most likely the memory ran out; free some, or take a smaller model",
    "SIGSEGV": "the runtime crashed on this model; try another runtime or version",
    "SIGABRT": "the runtime gave up on this model; try another runtime or version",
    "SIGBUS": "the model file changed or vanished while it was mapped; run it again",
}


Send = Callable[[Place, dict[str, Any], Path], list[str]]
"""Puts a benchmark program and what a spec names on a place, by way of a folder for files of its own, and returns the
words of its command as far as the path of SPEC."""


def in_python(place: Place, spec: dict[str, Any], folder: Path) -> list[str]:
    """The `Send` of the program that the place's Python runs."""
    models = [{**model, "path": place.put(Path(model["path"]))} for model in spec["models"]]
    inputs = {"inputs": place.put(Path(spec["inputs"]))} if "inputs" in spec else {}
    local = folder / "spec.json"
    local.write_text(json.dumps({**spec, "models": models, **inputs}), encoding="utf-8")
    return [*place.python, place.put(PROGRAM), place.put(local)]


def run_program(place: Place, spec: dict[str, Any], send: Send = in_python) -> dict[str, Any]:
    """Run a benchmark program on `spec` and return its result, both as PROGRAM's docstring describes them.

    Where the place is lost and comes back, another process takes what is missing: of one model the remaining samples,
    and `processes` of the result says how many processes they come from; of several, whose runs belong together, all.
    Samples from before a restart of the machine are dropped.

    Raises BadInput where a runtime refuses a model, EdgekdError where the process is killed or hangs, and PlaceLost
    where the place does not come back.
    """
    parts: list[dict[str, Any]] = []
    while True:
        result = _run_to_the_end(place, spec, parts, send)
        if all(part["boot_id"] and part["boot_id"] == result["boot_id"] for part in parts):
            return joined([*parts, result])
        log.warning("%s was restarted; what was measured before does not count", place.name)
        parts = []


def _run_to_the_end(place: Place, spec: dict[str, Any], parts: list[dict[str, Any]], send: Send) -> dict[str, Any]:
    """Run until a process ends by itself; what those left that were cut off from us goes to `parts`."""
    begun: list[str] = []

    def attempt() -> dict[str, Any]:
        while begun:
            left = _result(place, begun[-1])
            place.remove(begun[-1])  # the program ends where its folder is gone: two at once would disturb each other
            begun.pop()
            if left.get("stage") == "done":
                return left
            if left.get("runs") and len(left["models"]) == 1:
                log.warning("%s is back; %d runs were kept, the rest follows", place.name, left["runs"])
                parts.append(left)
        with tempfile.TemporaryDirectory(prefix="edgekd-bench-") as folder:
            resumable = place.name != PLACE and len(spec["models"]) == 1
            words = send(place, {**remaining(spec, parts), "resumable": resumable}, Path(folder))
            begun.append(str(PurePosixPath(words[-1]).parent / "result.json"))
            done = _run(place, spec, [*words, begun[-1]])
            return _checked(place, spec, done, _result(place, begun[-1]))

    return persistently(place, attempt)


def remaining(spec: dict[str, Any], parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The spec of what is still to be measured after `parts`."""
    if not parts:
        return spec
    runs, seconds = (sum(part[key] for part in parts) for key in ("runs", "seconds"))
    return {
        **spec,
        "min_runs": max(1, spec["min_runs"] - runs),
        "min_seconds": max(0.0, spec["min_seconds"] - seconds),
        "max_seconds": max(0.1, spec["max_seconds"] - seconds),
    }


def joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Put the samples of several processes together; everything else that is not a sum is the last one's.

    Each part is thinned as much as the one that was thinned most, so that a run counts the same in all of them.
    """
    last = {**parts[-1], "processes": len(parts)}
    if len(parts) == 1:
        return last
    kept = min(len(part["models"][0]["wall_ms"]) / part["runs"] for part in parts)
    samples: dict[str, list[float]] = {"wall_ms": [], "cpu_ms": []}
    for part in parts:
        [model] = part["models"]
        taken = np.linspace(0, len(model["wall_ms"]) - 1, max(1, round(kept * part["runs"]))).astype(int)
        for name, values in samples.items():
            values += [model[name][at] for at in taken]
    return {
        **last,
        **{key: sum(part[key] for part in parts) for key in ("runs", "seconds", "preempted")},
        "conditions": [one for part in parts for one in part["conditions"]],
        "models": [{**last["models"][0], **samples}],
    }


def _run(place: Place, spec: dict[str, Any], command: Sequence[str]) -> Finished:
    limit = 300 + 4 * spec["max_seconds"]
    try:
        return place.run(command, limit)
    except subprocess.TimeoutExpired as error:
        raise EdgekdError(
            f"{_subject(place, spec)}: the benchmark was stopped after {limit:.0f} s without an end."
        ) from error


def _result(place: Place, path: str) -> dict[str, Any]:
    """What the program has written so far."""
    written = place.fetch(path)
    return dict(json.loads(written)) if written else {}


def _checked(place: Place, spec: dict[str, Any], done: Finished, result: dict[str, Any]) -> dict[str, Any]:
    """The result of a process that ended well. Raises what is wrong with any other."""
    if "error" in result:
        runtimes = " or ".join(sorted({model["runtime"] for model in spec["models"]}))
        where = STAGES.get(result.get("stage", ""), "starting")
        raise BadInput(f"{_subject(place, spec)}: {runtimes} fails at {where}: {in_one_line(result['error'])}")
    if done.code != 0 or result.get("stage") != "done":
        if disk_full(done.stderr):
            raise EdgekdError(f"{place.name}: the disk is full, no samples could be written; free some space there.")
        raise EdgekdError(f"{_subject(place, spec)}: {death(done.code, done.stderr, result)}.")
    return result


def _subject(place: Place, spec: dict[str, Any]) -> str:
    names = " and ".join(dict.fromkeys(model["path"] for model in spec["models"]))
    return names if place.name == PLACE else f"{names} on {place.name}"


def death(code: int, stderr: str, result: dict[str, Any]) -> str:
    """Say how a benchmark process ended too early: signal or exit code, when, with how much memory, likely why."""
    where = STAGES.get(result.get("stage", ""), "starting")
    if code < 0:
        name = signal.Signals(-code).name
        why = CAUSES.get(name, "something outside ended it; run it again")
    else:
        name, why = f"exit code {code}", in_one_line(stderr.strip().rpartition("\n")[2])
    memory = result.get("memory", {})
    peak = f", having reached {max(memory.values()) / 1024:.0f} MiB before" if memory else ""
    return f"the benchmark process died ({name}) at {where}{peak}: {why}"
