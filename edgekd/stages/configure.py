"""Stage 7: the session options and threads that the chosen candidate ships with."""

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.artifact.runtimes.ort_format import MAPPED, MAPPED_FILE, ORT_FILE, WRITE
from edgekd.device import HOST, DeviceProfile, load_profile
from edgekd.errors import BadInput
from edgekd.examine import for_host
from edgekd.places.sessions import Entry, described, fastest_threads, lightest, measured_here
from edgekd.places.timing import bench
from edgekd.progress import Listener, Tick
from edgekd.record import Record
from edgekd.rendering.outline import session_words
from edgekd.results import Candidate, SessionTrial
from edgekd.schemes.offered import on_this_machine

log = logging.getLogger(__name__)

NO_PATTERN = {"memory_pattern": False}
"""The pattern of the first run is allocated beside what that run took of the arena."""
MENU: dict[str, tuple[dict[str, Any], ...]] = {
    "onnxruntime": (NO_PATTERN, {**NO_PATTERN, "arena": False}, {**NO_PATTERN, "prepacking": False}),
    "openvino": (),
}
"""What is tried beside a runtime's usual session."""
OWN_MENU: dict[str, tuple[dict[str, Any], ...]] = {
    ORT_FILE: (NO_PATTERN, {**MAPPED, **NO_PATTERN}),
    MAPPED_FILE: (NO_PATTERN, {**NO_PATTERN, "arena": False}, {**NO_PATTERN, "prepacking": False}),
}
"""What is tried of files that ONNX Runtime has optimised itself. Where kernels pack weights, those lie in the map
besides."""


class Configured(Record):
    """The chosen candidate with its session, and with the figures that it has so where the target was measured."""

    chosen: Candidate
    trials: tuple[SessionTrial, ...]


def configure(
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

    What ONNX Runtime writes itself competes where it can write the candidate for the target. For another target than
    this machine threads are the profile's, and what was found here of the other options is taken over, though nothing
    ran there; those files then compete as they would be written for this machine.
    """
    own = on_this_machine({key: value for key, value in chosen.session.items() if key != "threads"})
    usual = Entry(files / (chosen.timed_as or chosen.file), own)
    menu = [Entry(usual.file, {**own, **options}) for options in MENU[chosen.runtime]]
    weigh, cost = measured_here(chosen.runtime, inputs, seconds=seconds)
    listen(Tick("session", 0, 1, chosen.id))
    with tempfile.TemporaryDirectory(prefix="edgekd-configure-") as scratch:
        for name in OWN_MENU if chosen.runtime == "onnxruntime" else ():
            written = Path(scratch) / name
            if _written(files / chosen.file, usual.file, written, profile, inputs):
                menu += [Entry(written, {**own, **options}) for options in OWN_MENU[name]]
        best, trials = lightest(usual, menu, weigh, cost) if menu else (usual, ())
        session = {"threads": 1, **chosen.session, **described(best, usual)}
        if profile.name != HOST:
            found = chosen.model_copy(update={"session": session})
        else:
            cores = {str(name): runtime.threads for name, runtime in profile.runtimes.items()}
            threads, more = fastest_threads(best, cores[chosen.runtime], cost)
            trials += more
            found = _measured(chosen, best, {**session, "threads": threads}, inputs)
    listen(Tick("session", 1, 1, session_words(found.session)))
    return Configured(chosen=found, trials=trials)


def _written(model: Path, timed: Path, out: Path, profile: DeviceProfile, inputs: Path) -> bool:
    """Whether ONNX Runtime can write a model itself for a device; then what is timed in its place lies in `out`, as
    written for this machine."""
    given = np.load(inputs, allow_pickle=False)
    try:
        for source, device in ((model, profile), (timed, load_profile(HOST))):
            WRITE[out.name](source, out, profile=device, given=given)
    except BadInput as error:
        log.info("%s", error)
        return False
    return True


def _measured(chosen: Candidate, best: Entry, session: dict[str, Any], inputs: Path) -> Candidate:
    """The candidate with its session, and the figures that this machine gives with it."""
    configured = chosen.model_copy(update={"session": session})
    if session == chosen.session:
        return configured
    threads = int(session["threads"])
    taken = bench(best.file, runtime=chosen.runtime, session={**best.options, "threads": threads}, inputs=inputs)
    told = f"{chosen.reason}; its latency is with {threads} threads, that of the others with one"
    reason = told if threads > 1 else chosen.reason
    return configured.model_copy(update={"host": taken, "reason": reason, **for_host(taken)})
