"""Stage 7: the session options and threads that the chosen candidate ships with."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from edgekd.device import HOST, DeviceProfile
from edgekd.examine import for_host
from edgekd.external_data import data_file
from edgekd.places.sessions import Entry, described, fastest_threads, lightest, measured_here
from edgekd.places.timing import bench
from edgekd.progress import Listener, Tick
from edgekd.record import Record
from edgekd.rendering.outline import session_words
from edgekd.results import Candidate, SessionTrial
from edgekd.runtimes import predict_all
from edgekd.schemes.offered import on_this_machine

log = logging.getLogger(__name__)

MENU: dict[str, tuple[dict[str, Any], ...]] = {
    "onnxruntime": ({"arena": False}, {"arena": False, "memory_pattern": False}, {"prepacking": False}),
    "openvino": (),
}
"""What is tried beside a runtime's usual session."""
MAPPED = {"session.use_memory_mapped_ort_model": "1"}
ORT_MENU: tuple[dict[str, Any], ...] = ({}, MAPPED, {**MAPPED, "prepacking": False})
"""What is tried of ONNX Runtime's own format."""
ORT_FILE = "model.ort"
ALIKE = 1e-3
"""Largest difference of an output in that format, relative to the largest of the ONNX file's."""


class Configured(Record):
    """The chosen candidate with its session, and with the figures that it has so where the target was measured."""

    chosen: Candidate
    trials: tuple[SessionTrial, ...]


def configure(
    folder: Path,
    *,
    chosen: Candidate,
    files: Path,
    profile: DeviceProfile,
    inputs: Path,
    seconds: float,
    listen: Listener,
) -> Configured:
    """Measure the menu of the chosen candidate's runtime, take the session with the least peak memory among those that
    are not slower, and where the target is this machine, as many threads as pay.

    ONNX Runtime's own format competes only there: its graph is optimised for the machine that writes it. It is left in
    `folder` as model.ort if it is taken. For another target threads are the profile's, and what was found here of the
    other options is taken over, though nothing ran there.
    """
    own = on_this_machine({key: value for key, value in chosen.session.items() if key != "threads"})
    usual = Entry(files / (chosen.timed_as or chosen.file), own)
    menu = [Entry(usual.file, {**own, **options}) for options in MENU[chosen.runtime]]
    here = profile.name == HOST
    ort = folder / ORT_FILE
    if here and chosen.runtime == "onnxruntime" and write_ort(usual.file, ort, inputs):
        menu += [Entry(ort, {**own, **options}) for options in ORT_MENU]
    listen(Tick("session", 0, 1, chosen.id))
    weigh, cost = measured_here(chosen.runtime, inputs, seconds=seconds)
    best, trials = lightest(usual, menu, weigh, cost) if menu else (usual, ())
    threads = int(chosen.session.get("threads", 1))
    if here:
        cores = {str(name): runtime.threads for name, runtime in profile.runtimes.items()}
        threads, more = fastest_threads(best, cores[chosen.runtime], cost)
        trials += more
    session = {**chosen.session, "threads": threads, **described(best, usual)}
    if best.file != ort:
        ort.unlink(missing_ok=True)
    configured = chosen.model_copy(update={"session": session})
    if here and session != chosen.session:
        taken = bench(best.file, runtime=chosen.runtime, session={**best.options, "threads": threads}, inputs=inputs)
        told = f"{chosen.reason}; its latency is with {threads} threads, that of the others with one"
        reason = told if threads > 1 else chosen.reason
        configured = configured.model_copy(update={"host": taken, "reason": reason, **for_host(taken)})
    listen(Tick("session", 1, 1, session_words(session)))
    return Configured(chosen=configured, trials=trials)


def write_ort(model: Path, out: Path, inputs: Path) -> bool:
    """Write a model as ONNX Runtime optimises it for this machine, in its own format; False where that cannot be done
    or computes something else, and for a model of two files, which that format has no place for."""
    if data_file(model).is_file():
        log.info("%s keeps its weights beside it, so it is not written in ONNX Runtime's own format", model.name)
        return False
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(out)
    options.add_session_config_entry("session.save_model_format", "ORT")
    given = np.load(inputs, allow_pickle=False)
    try:
        onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        exact, said = (predict_all(path, [given]) for path in (model, out))
    except Exception as error:  # whatever the runtime raises
        log.info("%s cannot be written in ONNX Runtime's own format: %s", model.name, error)
        out.unlink(missing_ok=True)
        return False
    pairs = zip(exact, said, strict=True)
    return all(float(np.abs(a - b).max()) <= ALIKE * max(float(np.abs(a).max()), 1e-12) for a, b in pairs)
