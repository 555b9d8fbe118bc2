"""Latency on an x86 device: the graph as ONNX Runtime leaves it, each operator at the price that it was timed at."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekd.device import HOST, DeviceProfile, Rates
from edgekd.figures import Number
from edgekd.latency.conversion import LEVEL
from edgekd.latency.graph import GraphSummary, NodeCost, summarise
from edgekd.latency.operator_costs import OperatorCosts, kind_of, nanoseconds_of, read_costs
from edgekd.latency.optimised import optimise
from edgekd.latency.predictor import Prediction, by_operator
from edgekd.latency.x86 import multiply_ns, nanoseconds, per_inference
from edgekd.own_profiles import host_costs_file
from edgekd.this_machine import is_x86

log = logging.getLogger(__name__)
_OTHER_THREADS = 1.3
"""The interval widens by this much at more than one thread, which nothing was timed at."""
_PARALLEL, _OTHER_PARALLEL = 0.95, 0.8
"""Shares of an operator that spread over threads: of those that multiply, and of others. Judgement."""
_SHORT_NS = 20_000.0
"""Operators below this stay on one thread. Judgement."""
_PRODUCTS = ("conv_", "gemm", "matmul")


@dataclass(frozen=True)
class _Prices:
    """Nanoseconds of each operator and of what none takes, low and high end of their sum over it, and the share of time
    in operators of kinds that were never timed."""

    nodes: list[float]
    fixed: float
    low: float
    high: float
    unknown: float = 0.0


def priced(found: Prediction, model: Path, profile: DeviceProfile, *, costs: OperatorCosts | None) -> Prediction:
    """Return `found` with the latency that `model` has on an x86 device.

    Args:
        costs: what operators take on that device; None carries over what they took where edgekd was made.

    Raises:
        BadInput: ONNX Runtime does not load the model.
    """
    # Layout is this processor's: it stands for the device only where both are x86.
    executed = summarise(optimise(model, arm=False, layout=is_x86()), optimised=True)
    nodes = executed.nodes
    prices = _carried_over(nodes, profile) if costs is None else _timed(executed, costs)
    times = [_at_threads(node, one, found.threads) for node, one in zip(nodes, prices.nodes, strict=True)]
    distance = prices.unknown + (1.0 if executed.hidden or executed.unsized else 0.0)
    if costs is None:
        distance = found.distance or 0.0
    wider = (1 + distance / 4) * (_OTHER_THREADS if found.threads > 1 else 1.0)
    value = (prices.fixed + sum(times)) / 1e6
    latency = Number(
        value=round(value, 4),
        low=round(value * prices.low / wider, 4),
        high=round(value * prices.high * wider, 4),
        level=LEVEL,
        unit="ms",
        word="estimated",
        place=profile.name,
    )
    split = by_operator((node.operator, time / 1e6) for node, time in zip(nodes, times, strict=True))
    return found.model_copy(update={"latency_ms": latency, "distance": round(distance, 3), "by_operator": split})


def costs_of(profile: DeviceProfile) -> tuple[OperatorCosts | None, str]:
    """Return what operators take on a device, where `edgekd devices calibrate` has timed them, and a sentence where
    they were not or do not count any more.

    Raises:
        BadInput: what was stored is not a calibration.
    """
    if profile.name != HOST:
        return None, ""
    path = host_costs_file()
    if not path.is_file():
        return None, "this machine is not calibrated: run `edgekd devices calibrate host` once, which takes minutes"
    costs = read_costs(path)
    runtime = profile.runtimes["onnxruntime"].version
    if (costs.processor, costs.runtime_version) != (profile.soc, runtime):
        return None, (
            f"this machine was calibrated as {costs.processor} with onnxruntime {costs.runtime_version} and is "
            f"{profile.soc} with {runtime}: run `edgekd devices calibrate host` again"
        )
    return costs, ""


def _timed(executed: GraphSummary, costs: OperatorCosts) -> _Prices:
    nodes, times = executed.nodes, nanoseconds_of(executed.nodes, costs, footprint=executed.footprint)
    never = sum(
        time
        for node, time in zip(nodes, times, strict=True)
        if kind_of(node, costs)[1] not in (node.operator, node.kernel)
    )
    return _Prices(times, costs.run_ns, costs.low, costs.high, never / max(sum(times), 1.0))


def _carried_over(nodes: Sequence[NodeCost], profile: DeviceProfile) -> _Prices:
    rates = [profile.latency.int8 if node.precision == "int8" else profile.latency.fp32 for node in nodes]
    times = [nanoseconds(node) * slower_than_here(rate, profile) for node, rate in zip(nodes, rates, strict=True)]
    total = max(sum(times), 1e-9)
    low, high = (
        sum(time * getattr(rate, end) for time, rate in zip(times, rates, strict=True)) / total
        for end in ("low", "high")
    )
    return _Prices(times, per_inference() * slower_than_here(profile.latency.fp32, profile), low, high)


def slower_than_here(rates: Rates, profile: DeviceProfile) -> float:
    """How many times longer one core of a device takes than the machine that the shipped prices were taken on, by what
    they multiply; an instruction of the profile's multiplies four floats."""
    return rates.multiply_cycles / profile.latency.speeds_ghz[0] / 4 / multiply_ns()


def _at_threads(node: NodeCost, time: float, threads: int) -> float:
    if threads == 1 or time < _SHORT_NS:
        return time
    parallel = _PARALLEL if node.operator.startswith(_PRODUCTS) else _OTHER_PARALLEL
    return time * (1 - parallel + parallel / threads)
