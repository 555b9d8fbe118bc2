"""Latency and memory of an ONNX graph on a device that is not here, from the graph and the device's profile alone.

Each operator that the runtime would execute is turned into instructions (`edgekd.latency.costs`), and those into time
by the device's rates (`edgekd.latency.conversion`).
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from onnx import ModelProto

from edgekd.device import DeviceProfile, LatencyConstants
from edgekd.errors import UsageError, did_you_mean
from edgekd.figures import Number, Word
from edgekd.latency import conversion
from edgekd.latency.conversion import LEVEL, Work, time_from_counts, weight_bytes
from edgekd.latency.costs import instructions, outside
from edgekd.latency.graph import GraphSummary, NodeCost, Precision, as_if, summarise
from edgekd.latency.loops import Level
from edgekd.latency.resident import peak_resident_kib
from edgekd.record import Record

_MEMORY_LOW, _MEMORY_HIGH = 0.85, 1.15
"""Measured over predicted peak lay between 0.89 and 1.08 in nine of ten of eighty files that nothing was fitted to,
x86-64 Linux (benchmarks/host.py); wider by judgement, for other systems."""


class Prediction(Record):
    """An estimate for one device. Where the device cannot be estimated, `error` says why and the numbers are None.

    `distance` says how far the model lies from the measurements behind the rates: the natural logarithm of how many
    times it is smaller or larger than theirs, or the share of instructions in operators unlike the counted ones if
    that is more, plus one where the model has loops, branches or tensors of unknown size. Zero is inside; the interval
    is widened by 1 + distance / 4, a judgement. `by_operator` is milliseconds by operator class.
    """

    target: str
    runtime: str
    runtime_version: str
    threads: int
    precision: Precision
    latency_ms: Number | None
    peak_memory_kib: Number | None
    distance: float | None
    by_operator: dict[str, float]
    error: str | None = None


def predict(
    model: ModelProto,
    profile: DeviceProfile,
    *,
    runtime: str = "onnxruntime",
    threads: int | None = None,
    precision: Precision | None = None,
) -> Prediction:
    """Estimate one inference at batch 1.

    `precision` looks at the model as if it were in that precision; None takes it as it is, operator by operator.
    Raises UsageError where the device lacks the runtime or so many cores, BadInput where the graph cannot be counted.
    """
    return predict_summary(summarise(model), profile, runtime=runtime, threads=threads, precision=precision)


def predict_summary(
    summary: GraphSummary,
    profile: DeviceProfile,
    *,
    runtime: str = "onnxruntime",
    threads: int | None = None,
    precision: Precision | None = None,
    counted: Sequence[Work] | None = None,
) -> Prediction:
    """As `predict`, for a graph that has been summarised already; with `counted`, by instructions that were counted
    under emulation instead of those expected."""
    there = {str(name): found for name, found in profile.runtimes.items()}
    if runtime not in there:
        raise UsageError(f"{profile.name} has no runtime {runtime!r}{did_you_mean(runtime, there)}.")
    used = profile.latency.threads if threads is None else threads
    if not 1 <= used <= profile.cores:
        raise UsageError(f"{profile.name} has {profile.cores} cores, so {used} threads cannot be estimated.")
    nodes = as_if(summary.nodes, precision) if precision else summary.nodes
    said = precision or summary.precision
    if runtime != "onnxruntime":
        reason = f"There are no measurements of {runtime} to estimate {profile.name} from; measure it there."
        return unknown(profile, runtime, used, said, reason)
    works = [work_of(node, profile.latency.level) for node in nodes] if counted is None else counted
    distance = _distance(summary, nodes if counted is None else (), profile.latency)
    word: Word = "estimated" if counted is None else "emulated"
    return Prediction(
        target=profile.name,
        runtime=runtime,
        runtime_version=there[runtime].version,
        threads=used,
        precision=said,
        latency_ms=time_from_counts(works, profile, threads=used, widened=1 + distance / 4, word=word),
        peak_memory_kib=_memory(summary, precision, profile.name),
        distance=round(distance, 3),
        by_operator=by_operator(
            (work.operator, conversion.milliseconds(work, profile.latency, used)) for work in works
        ),
    )


def unknown(profile: DeviceProfile, runtime: str, threads: int, precision: Precision, reason: str) -> Prediction:
    """A device, with the reason why it cannot be estimated."""
    return Prediction(
        target=profile.name,
        runtime=runtime,
        runtime_version={str(name): found.version for name, found in profile.runtimes.items()}[runtime],
        threads=threads,
        precision=precision,
        latency_ms=None,
        peak_memory_kib=None,
        distance=None,
        by_operator={},
        error=reason,
    )


def by_operator(taken: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return the milliseconds of each operator class, longest first, from those of single operators."""
    total: dict[str, float] = defaultdict(float)
    for operator, milliseconds in taken:
        total[operator] += milliseconds
    return {name: round(time, 4) for name, time in sorted(total.items(), key=lambda item: -item[1])}


def work_of(node: NodeCost, level: Level) -> Work:
    """Return the instructions that a node is expected to execute."""
    count = instructions(node, level)
    streamed = weight_bytes(node.weights, node.precision)
    return Work(node.operator, node.precision, count.multiply, count.other, streamed)


def milliseconds(node: NodeCost, constants: LatencyConstants, threads: int) -> float:
    """Return what a node takes on a device."""
    return conversion.milliseconds(work_of(node, constants.level), constants, threads)


def _distance(summary: GraphSummary, nodes: tuple[NodeCost, ...], constants: LatencyConstants) -> float:
    smallest, largest = (1e9 * bound for bound in constants.fitted_gmacs)
    macs = max(summary.macs, 1)
    size = max(math.log(smallest / macs), math.log(macs / largest), 0.0)
    return max(size, outside(nodes, constants.level)) + (1.0 if summary.hidden or summary.unsized else 0.0)


def _memory(summary: GraphSummary, precision: Precision | None, place: str) -> Number:
    value = peak_resident_kib(summary, precision)
    return Number(
        value=round(value, 1),
        low=round(_MEMORY_LOW * value, 1),
        high=round(_MEMORY_HIGH * value, 1),
        level=LEVEL,
        unit="KiB",
        word="estimated",
        place=place,
    )
