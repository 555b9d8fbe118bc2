"""Benchmarks on boards without Python: a program in C, sent along with ONNX Runtime and the C library."""

import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import machine_facts
from edgekd.benchmark_program import onnxruntime_options
from edgekd.emulation.board import command
from edgekd.emulation.inputs import Array, input_specs, made_up, told
from edgekd.errors import EdgekdError
from edgekd.formats.onnx_file import read_onnx
from edgekd.places.place import Place, run_small
from edgekd.places.process import Send
from edgekd.runtimes import in_one_line

ARCHITECTURE = "aarch64"
_MARK = "edgekd: file "
_TELL = (
    f'tell() {{ echo "{_MARK}$1"; shift; "$@"; echo; }}; '
    f'for file in {" ".join(machine_facts.FILES)}; do test -r "$file" && tell "$file" cat "$file"; done; '
    'tell architecture uname -m; tell disk df -Pk "$1"'
)


def version_sent() -> str:
    """The version of ONNX Runtime that is sent: the one installed here."""
    return importlib.metadata.version("onnxruntime")


def facts_of(place: Place) -> dict[str, Any]:
    """Return what a place without Python says of itself, as `machine_facts` does, and the space left on its disk."""
    beside = place.put(Path(machine_facts.__file__))
    said = run_small(place, ["sh", "-c", _TELL, "sh", beside]).stdout.decode(errors="replace")
    parts = (part.partition("\n") for part in f"\n{said}".split(f"\n{_MARK}")[1:])
    files = {name: text.strip() for name, _, text in parts}
    facts = machine_facts.facts_without_python(files, files.get("architecture", ""))
    disk = files.get("disk", "").rpartition("\n")[2].split()  # device, size, used, left, share, where
    left = int(disk[3]) // 1024 if len(disk) > 3 and disk[3].isdigit() else None
    return {**facts, "disk_free_mib": left}


def conditions_of(place: Place, files: Path) -> dict[str, float]:
    """Return the present state of a place, as the program there tells it. Raises EdgekdError where it does not run."""
    done = run_small(place, command(place.put(files)))
    if done.code:
        said = in_one_line(done.stderr.strip().rpartition("\n")[2])
        raise EdgekdError(
            f"{place.name}: the benchmark program does not run there (exit code {done.code}, {said}); where the TMPDIR "
            "there allows no programs, set another, or install Python with onnxruntime."
        )
    return dict(json.loads(done.stdout))


def in_c(files: Path) -> Send:
    """Return the `Send` of the program in C, whose files lie in that folder."""

    def send(place: Place, spec: dict[str, Any], folder: Path) -> list[str]:
        words = [f"{name}={spec[name]}" for name in ("warmup", "min_runs", "min_seconds", "max_seconds")]
        words.append(f"resumable={int(spec['resumable'])}")
        for number, model in enumerate(spec["models"]):
            words += _model_words(place, model, spec, folder / f"inputs-{number}")
        local = folder / "spec"
        local.write_bytes(b"".join(word.encode() + b"\0" for word in words))
        return [*command(place.put(files)), place.put(local)]

    return send


def _model_words(place: Place, model: dict[str, Any], spec: dict[str, Any], raw: Path) -> list[str]:
    """What SPEC says of one model; what it is fed goes through the file `raw`."""
    path, options = Path(model["path"]), dict(model["session"])
    threads = options.pop("threads", spec["threads"])
    fed = _fed(path, spec)
    raw.write_bytes(b"".join(array.tobytes() for array in fed))
    arena, memory_pattern, entries = onnxruntime_options(options)
    return [
        *(f"model={place.put(path)}", f"inputs={place.put(raw)}", *told(fed)),
        *(f"threads={threads}", f"arena={int(arena)}", f"memory_pattern={int(memory_pattern)}"),
        *(f"entry={key}={value}" for key, value in entries.items()),
        f"session={json.dumps({'intra_op_num_threads': threads, **options})}",
    ]


def _fed(path: Path, spec: dict[str, Any]) -> Sequence[Array]:
    """One sample, the same as the program in Python feeds."""
    specs = input_specs(path, read_onnx(path))
    if "inputs" not in spec:
        return made_up(path, specs, spec["seed"])
    given = np.load(spec["inputs"], allow_pickle=False)
    return [given.astype(one.dtype) for one in specs]
