"""What operators take on one x86 machine, as timed there: a formula for each kind, corrected towards its neighbours.

The formula is linear in multiply-accumulates, steps, elements read and written, weights and nodes. What it leaves is
known at the operators that were timed; a Gaussian process on the logarithms of those sizes, and of how much memory the
whole graph goes through, which decides what the caches still hold, carries it to others near them. Far from all of them
the formula stands alone.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError, model_validator

from edgekd.errors import BadInput
from edgekd.latency.graph import NodeCost
from edgekd.record import Record

LENGTH, SPREAD = 1.0, 0.3
"""Of the process: natural logarithms of sizes over which residuals stay alike, and how large they are."""
COARSE = 300.0
"""Nanoseconds below which errors count absolutely, above it relatively."""
MOST_BYTES = 8 * 2**20
CHEAP = ("", "Relu", "Clip")
"""Activations that a convolution does at no cost."""
WRITTEN = 3
"""Where a formula has the elements written."""
_MOST_POINTS = 1000
_Amount = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
_Finite = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
Matrix = npt.NDArray[np.float64]


class KindCosts(Record):
    """One kind of operator: nanoseconds per multiply-accumulate, step, element read, element written, weight and node;
    and the operators that were timed (logarithms of the steps, or without any the multiply-accumulates, of the next
    three sizes, and half that of the whole graph's weights and activations in bytes) with their pull on those near."""

    linear: tuple[_Amount, _Amount, _Amount, _Amount, _Amount, _Amount]
    points: Annotated[
        tuple[tuple[_Finite, _Finite, _Finite, _Finite, _Finite], ...], Field(max_length=_MOST_POINTS)
    ] = ()
    pulls: Annotated[tuple[_Finite, ...], Field(max_length=_MOST_POINTS)] = ()

    @model_validator(mode="after")
    def _one_pull_a_point(self) -> "KindCosts":
        if len(self.points) != len(self.pulls):
            raise ValueError(f"{len(self.points)} points need as many pulls, not {len(self.pulls)}")
        return self


class OperatorCosts(Record):
    """`edgekd devices calibrate host`: costs by precision and kind ("conv_1x1", or "elementwise/Add"), at one thread.

    `run_ns` is what an inference takes that no operator does, `reference_ns` what
    `edgekd.calibration.node_times.Reference` took meanwhile. `low` and `high` bound measured over predicted time in
    nine of ten graphs that a fit did not see; `median_error` is their median error and `graphs` how many there were.
    """

    schema_version: Literal[2] = Field(default=2, alias="schema")
    processor: Annotated[str, Field(max_length=200)]
    runtime_version: Annotated[str, Field(max_length=40)]
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    reference_ns: _Positive
    run_ns: _Amount
    low: Annotated[float, Field(gt=0, le=1)]
    high: Annotated[float, Field(ge=1, le=100)]
    median_error: Annotated[float, Field(ge=0, le=100)]
    graphs: Annotated[int, Field(ge=0)]
    fp32: Annotated[dict[str, KindCosts], Field(max_length=500)]
    int8: Annotated[dict[str, KindCosts], Field(max_length=500)]


def read_costs(path: Path) -> OperatorCosts:
    """Read costs that were taken by `edgekd devices calibrate host`.

    Raises:
        BadInput: the file is not one.
    """
    if path.stat().st_size > MOST_BYTES:
        raise BadInput(f"{path.name}: this is larger than any calibration; remove it and calibrate again.")
    try:
        return OperatorCosts.model_validate(json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        problem = ""
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            problem = f" ({'.'.join(str(part)[:40] for part in first['loc'])[:80]}: {first['msg']})"
        raise BadInput(f"{path.name}: this is not a calibration{problem}; remove it and calibrate again.") from None


def nanoseconds_of(nodes: Sequence[NodeCost], costs: OperatorCosts, *, footprint: float) -> list[float]:
    """Return what each operator of a graph takes at one thread; the graph's weights and activations are `footprint`
    bytes."""
    found = np.zeros(len(nodes))
    by_kind: dict[tuple[str, str], list[int]] = {}
    for at, node in enumerate(nodes):
        by_kind.setdefault(kind_of(node, costs), []).append(at)
    for (precision, kind), members in by_kind.items():
        table = costs.int8 if precision == "int8" else costs.fp32
        found[members] = kernel_ns([nodes[at] for at in members], table[kind], footprint)
    for at, node in enumerate(nodes):
        extra = costs.fp32.get(f"fused/{node.fused}") if node.fused not in CHEAP else None
        found[at] += extra.linear[WRITTEN] * node.elements_written if extra else 0.0
    return [float(one) for one in found]


def kind_of(node: NodeCost, costs: OperatorCosts) -> tuple[str, str]:
    """Return precision and key of the costs that an operator is priced by: its own, or those of its class, or float
    ones, or as the last resort those of any activation."""
    keys = (node.kernel, node.operator)
    tables = [("fp32", costs.fp32)]
    if node.precision == "int8":
        tables.insert(0, ("int8", costs.int8))
    found = next(((name, key) for name, table in tables for key in keys if key in table), None)
    return found or ("fp32", "activation")


def kernel_ns(nodes: Sequence[NodeCost], costs: KindCosts, footprint: float | Matrix) -> Matrix:
    """Nanoseconds of operators of one kind, (nodes,)."""
    base = amounts(nodes) @ np.array(costs.linear)
    if not costs.points:
        return np.asarray(base)
    pull = nearness(logarithms(nodes, footprint), np.array(costs.points)) @ np.array(costs.pulls)
    return np.asarray(np.maximum((base + COARSE) * np.exp(pull) - COARSE, 0.2 * base))


def amounts(nodes: Sequence[NodeCost]) -> Matrix:
    """What the linear part counts, (nodes, 6)."""
    return np.array([[n.macs, n.steps, n.elements_read, n.elements_written, n.weights, 1.0] for n in nodes], np.float64)


def logarithms(nodes: Sequence[NodeCost], footprint: float | Matrix) -> Matrix:
    """Where operators of a graph, or of several, of `footprint` bytes lie among all, (nodes, 5)."""
    around = np.broadcast_to(np.log1p(footprint) / 2, (len(nodes),))
    sizes = amounts(nodes)
    work = np.where(sizes[:, 1] > 0, sizes[:, 1], sizes[:, 0])
    return np.column_stack([np.log1p(work), np.log1p(sizes[:, 2:5]), around])


def nearness(first: Matrix, second: Matrix) -> Matrix:
    """Covariance of the residuals of two sets of operators, (first, second)."""
    squared = ((first[:, None, :] - second[None, :, :]) ** 2).sum(axis=2)
    return np.asarray(SPREAD**2 * np.exp(-squared / (2 * LENGTH**2)))
