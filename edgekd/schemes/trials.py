"""Which nodes to leave float: sets that were tried, each with its score and its estimated latency.

Every trial is written down before the next one, so that a search goes on where it was interrupted, and a person can
read what was tried.
"""

import hashlib
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from pydantic import ValidationError

from edgekd.device import Numerics
from edgekd.external_data import write_onnx
from edgekd.progress import Tick
from edgekd.record import Record
from edgekd.schemes.calibration import CalibrationData, Method, RangeTable
from edgekd.schemes.noise import LayerNoise, layer_noise, noise_inputs
from edgekd.schemes.qdq import with_pairs
from edgekd.schemes.quantizer import Prepared, already_integer, finish, prepare, refusing
from edgekd.schemes.ranges import find_ranges
from edgekd.schemes.scheme import Evidence
from edgekd.workspace import write_atomic


class Trial(Record):
    """Nodes left float, the score on validation and the estimated milliseconds on the target that this gave."""

    left_float: tuple[str, ...]
    score: float
    latency_ms: float
    seconds: float


class Trace(Record):
    """Trials of one search; `made_from` is what they hold for."""

    made_from: str
    trials: tuple[Trial, ...] = ()


class NoiseTable(Record):
    """Noise of the layers, the worst first; without `complete`, of those that there was time for."""

    made_from: str
    layers: tuple[LayerNoise, ...] = ()
    complete: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """That layers are missing, where some are."""
        return () if self.complete else (f"only {len(self.layers)} layers' noise was measured before time was over",)


@dataclass(frozen=True)
class Ground:
    """What a search works on: a prepared float graph with its ranges, and the file of its trace."""

    prepared: Prepared
    ranges: RangeTable
    numerics: Numerics
    evidence: Evidence
    trace: Path
    began: float

    @property
    def out_of_time(self) -> bool:
        """Whether the seconds that the search may take are over."""
        return time.monotonic() - self.began > self.evidence.seconds

    @property
    def made_from(self) -> str:
        """What trials and noise hold for."""
        ranges = self.ranges
        return " ".join((ranges.graph, ranges.data, ranges.method, self.numerics.model_dump_json()))


def open_ground(prepared: Prepared, ranges: RangeTable, numerics: Numerics, evidence: Evidence, *, name: str) -> Ground:
    """Return the ground of the search for the file `name`, with what an earlier run of it has tried. Time begins."""
    return Ground(prepared, ranges, numerics, evidence, evidence.folder / f"{name}.trials.json", time.monotonic())


def measured_noise(ground: Ground, data: CalibrationData) -> NoiseTable:
    """Return the noise of each layer alone, as far as there is time; what any search measured is not measured again.

    Raises:
        BadInput: the data do not fill a batch, or the runtime refuses the graph.
    """
    key = hashlib.sha256(ground.made_from.encode()).hexdigest()[:12]
    path = ground.evidence.folder / f"noise-{key}.json"
    table = _read_noise(path, ground.made_from)
    if table.complete:
        return table
    stopped = False

    def until() -> bool:
        nonlocal stopped
        stopped = ground.out_of_time
        return stopped

    graph = ground.prepared.graph
    with refusing(ground.prepared.source):
        inputs = noise_inputs(graph, data)
        layers = layer_noise(graph, ground.ranges, ground.numerics, inputs, known=table.layers, until=until)
    table = NoiseTable(made_from=ground.made_from, layers=layers, complete=not stopped)
    write_atomic(path, table.model_dump_json(indent=1).encode("utf-8"))
    return table


def _read_noise(path: Path, made_from: str) -> NoiseTable:
    nothing = NoiseTable(made_from=made_from)
    try:
        table = NoiseTable.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return nothing
    return table if table.made_from == made_from else nothing


def begin_search(
    model: Path,
    calibration: CalibrationData | None,
    numerics: Numerics,
    method: Method,
    evidence: Evidence | None,
    *,
    name: str,
) -> tuple[Ground, NoiseTable] | str:
    """Return the ground of a search over a float file's layers and their noise, or say why there is nothing to search.

    Raises BadInput where the graph cannot be quantized.
    """
    if skipped := already_integer(model):
        return skipped
    if calibration is None or evidence is None:
        return "there are no data to calibrate and to score it with"
    prepared = prepare(model)
    with refusing(model):
        ranges = find_ranges(prepared.graph, calibration, method)
    ground = open_ground(prepared, ranges, numerics, evidence, name=name)
    table = measured_noise(ground, calibration)
    if table.complete and not table.layers:
        return "no operator of the graph has an int8 form"
    return ground, table


def attempt(ground: Ground, left_float: Collection[str]) -> Trial:
    """Return the trial of leaving these nodes float; from the trace where it was made before."""
    names = tuple(sorted(left_float))
    trace = read_trace(ground)
    known = next((trial for trial in trace.trials if trial.left_float == names), None)
    if known is not None:
        return known
    began = time.monotonic()
    graph = graph_of(ground, names)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        path = Path(folder) / "trial.onnx"
        write_onnx(path, graph)
        score = ground.evidence.score(path)
    spent = round(time.monotonic() - began, 3)
    trial = Trial(left_float=names, score=score, latency_ms=ground.evidence.milliseconds(graph), seconds=spent)
    kept = trace.model_copy(update={"trials": (*trace.trials, trial)})
    write_atomic(ground.trace, kept.model_dump_json(indent=1).encode("utf-8"))
    detail = f"{len(names)} layers float: {100 * score:.2f} %"
    ground.evidence.listen(Tick("search", len(kept.trials), len(kept.trials), detail))
    return trial


def graph_of(ground: Ground, left_float: Collection[str]) -> onnx.ModelProto:
    """Return the finished graph with these nodes float."""
    with refusing(ground.prepared.source):
        graph = with_pairs(ground.prepared.graph, ground.ranges, ground.numerics, leave_float=left_float)
    return finish(graph, ground.prepared)


def read_trace(ground: Ground) -> Trace:
    """Return what was tried on this ground; nothing where the file is not there or is about something else."""
    nothing = Trace(made_from=ground.made_from)
    try:
        trace = Trace.model_validate_json(ground.trace.read_bytes())
    except (OSError, ValidationError):
        return nothing
    return trace if trace.made_from == ground.made_from else nothing


def smallest_prefix(names: Sequence[str], inside: Callable[[Sequence[str]], bool]) -> int | None:
    """Return how many of the first `names` are needed until `inside` holds, or None where all of them are too few.

    Tries 1, 2, 4, ... and then halves between the last that did not hold and the first that did, so about twice the
    logarithm of their number; where more names do not always help, the count is one that holds, not the least.
    """
    failed, count = 0, 1
    while not inside(names[: min(count, len(names))]):
        if count >= len(names):
            return None
        failed, count = count, 2 * count
    holds = min(count, len(names))
    while holds - failed > 1:
        middle = (holds + failed) // 2
        if inside(names[:middle]):
            holds = middle
        else:
            failed = middle
    return holds


def best_trial(trials: Sequence[Trial], enough: float) -> Trial:
    """Return the fastest of the trials whose score is enough, else the one of the best score; ties to fewer layers."""
    good = [trial for trial in trials if trial.score >= enough]
    if good:
        return min(good, key=lambda trial: (trial.latency_ms, len(trial.left_float), trial.left_float))
    return max(trials, key=lambda trial: (trial.score, -trial.latency_ms))
