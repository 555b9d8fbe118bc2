"""From counted instructions to milliseconds on a device.

    T(n) = sum over operators of  cycles / (speed of k cores) + crowding x (k - 1) / (N - 1) + weights / bandwidth

`cycles` is what the instructions take on one core that has the memory to itself: multiplies x multiply_cycles + others
x other_cycles. k is the number of threads that ONNX Runtime gives an operator of that size. The second term is what
threads cost each other on the way to memory: none on one core, all of it on the N that the device uses. It
grows with the instructions that wait for memory, by operator class (`_WAITING`). In TFLite's published tables for the
Raspberry Pi 4 and 5 and the N100 the latencies at two and three threads lie within 8 % of this line drawn through those
at one and four.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from edgekd.device import DeviceProfile, LatencyConstants, Rates
from edgekd.figures import Number, Word
from edgekd.latency.graph import ITEM_BYTES, Precision

LEVEL = 0.9
_FP16_WORST = 4.0
"""ONNX Runtime's CPU provider casts fp16 to fp32 and back: no gain, and up to 4 times slower in published reports."""
_OTHER_THREADS = 1.1
"""The band widens by this much at a thread count other than the one the rates were fitted at."""
_PER_TASK = {"int8": 4096.0, "fp32": 16384.0}
"""Multiplying instructions of the smallest piece of a product or convolution: 64 Ki multiply-accumulates (ONNX
Runtime's MLAS and QLinearConv), at 16 or 4 an instruction."""
_PER_THREAD = 1e5
"""Cycles that pay for starting a thread, and for each thread, in ONNX Runtime's cost model of all other operators."""
_WAITING = {
    "int8": {
        "conv_3x3": (3.0, 0.5),
        "conv_other": (3.0, 0.5),
        "conv_grouped": (2.0, 0.5),
        "conv_depthwise_3x3": (2.0, 0.5),
        "conv_depthwise": (2.0, 0.5),
        "": (1.0, 0.5),
    },
    "fp32": {"": (0.0, 1.0)},
}
"""Weights of a multiplying and of another instruction in the crowding, by operator class; "" stands for the others. In
int8 they were fitted, with shrinkage, to nine published networks on two phone-class boards at once and then rounded; in
fp32 a weight of the multiplies did not lower the errors of networks left out (benchmarks/devices.py)."""


@dataclass(frozen=True)
class Work:
    """What one operator executes at one thread: instructions that multiply and accumulate, and all others.
    `weight_bytes` is the size of the stored tensor that it reads. With `nodes` more than one it stands for so many
    operators of the same class, which run one after the other."""

    operator: str
    precision: Precision
    multiply: float
    other: float
    weight_bytes: float = 0.0
    nodes: int = 1


def cycles(work: Work, rates: Rates) -> float:
    """Cycles of one core that has the memory to itself."""
    return work.multiply * rates.multiply_cycles + work.other * rates.other_cycles


def waiting(work: Work) -> float:
    """Instructions that wait for memory when all threads run, each times its weight."""
    weights = _WAITING["int8" if work.precision == "int8" else "fp32"]
    multiply, other = weights.get(work.operator, weights[""])
    return multiply * work.multiply + other * work.other


def cores_at_work(work: Work, threads: int) -> int:
    """Return how many of the threads get a piece of the operator."""
    if work.multiply:
        pieces = work.multiply / work.nodes / _PER_TASK["int8" if work.precision == "int8" else "fp32"] + 1
    else:
        pieces = (work.other / work.nodes - _PER_THREAD) / _PER_THREAD + 0.9
    return max(1, min(threads, int(pieces)))


def crowd(cores: int, constants: LatencyConstants) -> float:
    """Share of the crowding that so many cores at work bring: none at one, all of it at the device's threads."""
    return (cores - 1) / max(constants.threads - 1, 1)


def milliseconds(work: Work, constants: LatencyConstants, threads: int) -> float:
    """Return what one operator takes at `threads` threads."""
    rates = rates_of(work.precision, constants)
    cores = cores_at_work(work, threads)
    alone = cycles(work, rates) / sum(constants.speeds_ghz[:cores])
    nanoseconds = alone + waiting(work) * rates.crowding_ns * crowd(cores, constants)
    return (nanoseconds + work.weight_bytes / constants.bandwidth_gb_s) * 1e-6


def rates_of(precision: Precision, constants: LatencyConstants) -> Rates:
    """The rates of a precision; fp16 is computed in fp32."""
    return constants.int8 if precision == "int8" else constants.fp32


def weight_bytes(elements: int, precision: Precision) -> int:
    """Size of stored elements as the runtime streams them; fp16 is cast to fp32 when the model is loaded."""
    return elements * (1 if precision == "int8" else ITEM_BYTES["fp32"])


def time_from_counts(
    nodes: Iterable[Work],
    profile: DeviceProfile,
    *,
    threads: int | None = None,
    widened: float = 1.0,
    word: Word = "estimated",
) -> Number:
    """Return the latency of one inference in milliseconds, with its interval.

    `nodes` are counted or modelled at one thread; `threads` is the profile's unless given; `widened` divides the lower
    and multiplies the upper bound.
    """
    used = profile.latency.threads if threads is None else threads
    value = low = high = 0.0
    for work in nodes:
        taken = milliseconds(work, profile.latency, used)
        rates = rates_of(work.precision, profile.latency)
        value += taken
        low += taken * rates.low
        high += taken * rates.high * (_FP16_WORST if work.precision == "fp16" else 1.0)
    wider = widened * (_OTHER_THREADS if used != profile.latency.threads else 1.0)
    return Number(
        value=round(value, 4),
        low=round(low / wider, 4),
        high=round(high * wider, 4),
        level=LEVEL,
        unit="ms",
        word=word,
        place=profile.name,
    )
