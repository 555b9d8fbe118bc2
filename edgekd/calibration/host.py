"""Calibrating this machine: random small networks, float and quantized, timed operator by operator."""

import datetime
import itertools
import json
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from edgekd.calibration.fit import Timed, fit
from edgekd.calibration.networks import KINDS, network
from edgekd.calibration.node_times import Reference, graph_time, inference_time, node_times, numbered
from edgekd.calibration.pairs import quantized
from edgekd.device import Numerics
from edgekd.errors import UsageError
from edgekd.latency.graph import NodeCost, summarise
from edgekd.latency.operator_costs import OperatorCosts, nanoseconds_of
from edgekd.latency.optimised import optimise
from edgekd.own_profiles import host_costs_file
from edgekd.progress import Listener, Tick, silent
from edgekd.this_machine import host_profile, is_x86
from edgekd.workspace import write_atomic

NETWORKS = 120
_PASSES = 2
"""Over all graphs: what disturbs one of them for minutes, as a neighbour on the same chip does, is gone in another."""
_SECONDS = 0.1
"""For each graph in each pass, with and without the profiler, besides loading it."""
_FOLDS = 5
_ENDS, _LEAST_ADDED, _MOST_ADDED = 7.0, 700.0, 4000.0
"""The profiler takes as long for so many tensors as for an operator, at least and at most these nanoseconds."""
_SHORTEST = 50.0
"""Nanoseconds of an operator of which the profiler's own time leaves nothing."""
_NEIGHBOURS = 11
"""Graphs whose reference times are taken together, the least of them: clocks change slowly, and what another process
adds to one is not what it adds to the graph beside it."""
_SIGNS = Numerics(activations="uint8", per_channel=True, reduce_range=False)
Row = dict[str, Any]
"""What is kept of one graph in one pass: "pass", "network", "precision", "reference" and "cpu" (without the profiler)
in nanoseconds, "footprint" in bytes, and "nodes": a `NodeCost`, its nanoseconds, and its number of inputs and outputs
each."""


@dataclass(frozen=True)
class Graph:
    """A network as it was timed: its number, CPU time of one inference, and its operators."""

    network: int
    cpu_ns: float
    nodes: list[Timed]


def calibrate_host(*, out: Path | None = None, networks: int = NETWORKS, listen: Listener = silent) -> OperatorCosts:
    """Time what operators take on this machine, and write it where `edgekd predict --target host` finds it, or to
    `out`; an interrupted calibration goes on where it was.

    Raises:
        UsageError: this machine is no x86, or too few networks to leave any out.
    """
    if not is_x86():
        raise UsageError("Only x86 machines are calibrated by their operators; calibrate a profile with --on host.")
    if networks < _FOLDS * 2:
        raise UsageError(f"A calibration takes at least {_FOLDS * 2} networks, not {networks}.")
    final = out or host_costs_file()
    final.parent.mkdir(parents=True, exist_ok=True)
    part = final.with_name(f"{final.name}.part")
    rows = _gather(part, networks, listen)
    costs = costs_from(rows, min(inference_time() for _ in range(_PASSES)))
    write_atomic(final, costs.model_dump_json(by_alias=True).encode())
    part.unlink()
    return costs


def costs_from(rows: Sequence[Row], run_ns: float) -> OperatorCosts:
    """Fit the costs, and find their error on networks that were left out.

    Args:
        rows: what was timed.
        run_ns: nanoseconds of an inference that no operator takes.
    """
    profile = host_profile()
    around = _least_references(rows)
    usual = statistics.median(around)
    steady = [_at_speed(row, usual / one) for row, one in zip(rows, around, strict=True)]
    graphs = [_graph(row, run_ns) for row in _fastest(steady)]
    whole = OperatorCosts(
        schema=2,
        processor=profile.soc,
        runtime_version=profile.runtimes["onnxruntime"].version,
        date=datetime.date.today().isoformat(),
        reference_ns=round(usual),
        run_ns=round(run_ns),
        low=1.0,
        high=1.0,
        median_error=0.0,
        graphs=len(graphs),
        **fit([timed for one in graphs for timed in one.nodes]),
    )
    errors = np.concatenate([_left_out(graphs, fold, whole) for fold in range(_FOLDS)])
    low, high = np.percentile(errors, [5, 95])
    return whole.model_copy(
        update={
            "low": round(min(float(np.exp(low)), 1.0), 3),
            "high": round(max(float(np.exp(high)), 1.0), 3),
            "median_error": round(float(np.median(np.abs(errors))), 4),
        }
    )


def _at_speed(row: Row, speed: float) -> Row:
    """The row with all times multiplied by `speed`."""
    nodes = [{**one, "ns": one["ns"] * speed} for one in row["nodes"]]
    return {**row, "cpu": row["cpu"] * speed, "nodes": nodes}


def _fastest(rows: Sequence[Row]) -> list[Row]:
    """One row a graph, with the least that itself and each of its operators took in any pass."""
    found: dict[tuple[int, str], Row] = {}
    for row in rows:
        before = found.setdefault((row["network"], row["precision"]), row)
        pairs = zip(before["nodes"], row["nodes"], strict=True)
        nodes = [{**one, "ns": min(one["ns"], other["ns"])} for one, other in pairs]
        found[row["network"], row["precision"]] = {**row, "cpu": min(before["cpu"], row["cpu"]), "nodes": nodes}
    return list(found.values())


def _graph(row: Row, run_ns: float) -> Graph:
    """What was timed, without what the profiler added: more for each tensor that an operator reads or writes, whose
    shapes it takes down, and in all what the graph takes longer than without it."""
    nodes = row["nodes"]
    shares = [1 + one["ends"] / _ENDS for one in nodes]
    added = (sum(one["ns"] for one in nodes) - (row["cpu"] - run_ns)) / sum(shares)
    added = min(max(added, _LEAST_ADDED), _MOST_ADDED)
    timed = [
        Timed(NodeCost(**one["node"]), max(one["ns"] - added * share, _SHORTEST), row["footprint"])
        for one, share in zip(nodes, shares, strict=True)
    ]
    return Graph(row["network"], row["cpu"], timed)


def _left_out(graphs: Sequence[Graph], fold: int, whole: OperatorCosts) -> list[float]:
    """Logarithms of measured over predicted time, of the networks of one fold by a fit to all others."""
    costs = whole.model_copy(update=fit([t for one in graphs if _fold(one.network) != fold for t in one.nodes]))
    errors = []
    for one in graphs:
        if _fold(one.network) == fold:
            nodes = [timed.node for timed in one.nodes]
            predicted = costs.run_ns + sum(nanoseconds_of(nodes, costs, footprint=one.nodes[0].footprint))
            errors.append(math.log(one.cpu_ns / predicted))
    return errors


def _fold(number: int) -> int:
    """The fold that a network is left out with; those of a kind are spread over all folds."""
    return (number + number // len(KINDS)) % _FOLDS


def _least_references(rows: Sequence[Row]) -> list[float]:
    """The reference's time around each graph."""
    around = _NEIGHBOURS // 2
    taken = [row["reference"] for row in rows]
    return [min(taken[max(at - around, 0) : at + around + 1]) for at in range(len(taken))]


def _gather(part: Path, networks: int, listen: Listener) -> list[Row]:
    """Return what was timed, taking over what an earlier call has left in `part`."""
    made_from = {
        "networks": networks,
        "passes": _PASSES,
        "runtime": onnxruntime.__version__,
        "processor": host_profile().soc,
    }
    rows = _taken_over(part, made_from)
    # Written anew, because a half line would spoil the first one after it.
    part.write_text("".join(json.dumps(one) + "\n" for one in (made_from, *rows)), encoding="utf-8")
    done = {(row["pass"], row["network"], row["precision"]) for row in rows}
    total, started, fresh = 2 * networks * _PASSES, time.monotonic(), 0
    reference = Reference()
    with part.open("a", encoding="utf-8") as file, tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        for turn, number, precision in itertools.product(range(_PASSES), range(networks), ("fp32", "int8")):
            if (turn, number, precision) in done:
                continue
            row = {"pass": turn, **_timed(number, precision, Path(folder) / "network.onnx", reference)}
            file.write(json.dumps(row) + "\n")
            file.flush()
            rows.append(row)
            fresh += 1
            left = (time.monotonic() - started) / fresh * (total - len(rows))
            listen(Tick("operators", len(rows), total, f"{precision} network {number}", seconds_left=left))
    return rows


def _taken_over(part: Path, made_from: Row) -> list[Row]:
    """The rows of a file that was left by a calibration of the same kind; a last line may be half there."""
    rows: list[Row] = []
    with suppress(OSError, ValueError):
        first, *lines = part.read_text(encoding="utf-8").splitlines()
        if json.loads(first) == made_from:
            for line in lines:
                rows.append(json.loads(line))
    return rows


def _timed(number: int, precision: str, path: Path, reference: Reference) -> Row:
    model = network(number)
    onnx.save(quantized(model, _SIGNS) if precision == "int8" else model, path)
    graph = numbered(optimise(path, arm=False, layout=True))
    ends = {node.name: len(node.input) + len(node.output) for node in graph.graph.node}
    before = reference.nanoseconds()
    cpu, taken = graph_time(graph, seconds=_SECONDS), node_times(graph, seconds=_SECONDS)
    summary = summarise(graph, optimised=True)
    nodes = [node for node in summary.nodes if node.name in taken]
    return {
        "network": number,
        "precision": precision,
        "reference": min(before, reference.nanoseconds()),
        "cpu": cpu,
        "footprint": summary.footprint,
        "nodes": [{"node": asdict(node), "ns": taken[node.name], "ends": ends[node.name]} for node in nodes],
    }
