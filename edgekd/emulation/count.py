"""Instructions that one inference executes on an emulated core: by class, by node, by thread."""

import json
import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgekd.emulation.emulator import emulate
from edgekd.emulation.inputs import Array, input_specs, made_up, told
from edgekd.emulation.instructions import KINDS
from edgekd.emulation.kit import Kit, find_kit
from edgekd.emulation.runtime_library import patched_library
from edgekd.errors import EdgekdError
from edgekd.formats.onnx_file import read_onnx
from edgekd.record import Record

_log = logging.getLogger(__name__)
_TICK = 2
"""Kind of a mark that answers a question for the time; the others are the begin and the end of a run."""
_ENTRY = "_kernel_time"
_NANOSECONDS_PER_TICK = 1000
_CLOCK_STARTS_AT = 1_000_000 * 1_000_000_000
"""What the runner's clock, which only counts how often it is asked, says at first."""

VALUE_DEPENDENT = frozenset(
    (
        *("Loop", "If", "Scan", "SequenceMap", "NonMaxSuppression", "NonZero", "TopK", "Unique", "Compress"),
        *("GridSample", "RoiAlign", "MaxRoiPool", "DeformConv", "Multinomial"),
        *("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"),
    )
)
"""Operators whose work depends on the values they get: they are counted with the library as it is."""


class Instructions(Record):
    """Executed instructions by class; the classes overlap as their descriptions say, and `total` holds all others."""

    total: int
    multiply_float: int
    """Fused multiply-adds of floats, vector or scalar."""
    multiply_int8: int
    """SDOT, SMMLA, SMLAL and SMULL with their unsigned and mixed kin: what integer kernels multiply with."""
    dot_product: int
    """Of those, SDOT and SMMLA and their kin."""
    loads: int
    stores: int
    branches: int


class NodeCounts(Record):
    """One node of the graph as the runtime has optimised it."""

    name: str
    operator: str
    instructions: Instructions


class Counts(Record):
    """What one inference executes after a first one has warmed up, all threads together.

    `nodes` are in the order they ran in, with the graphs they run inside and an equal share of what the runtime does
    between nodes, so that they add up to `instructions`. `by_thread` has one entry per thread, the busiest first.
    `note` says what is unusual about the count, or nothing.
    """

    core: str
    version: str
    threads: int
    instructions: Instructions
    nodes: tuple[NodeCounts, ...] = ()
    by_thread: tuple[Instructions, ...] = ()
    note: str = ""


def count(
    model: Path,
    *,
    core: str,
    version: str,
    threads: int = 1,
    by_node: bool = False,
    inputs: Sequence[Array] | None = None,
    seed: int = 0,
    session: Mapping[str, Any] | None = None,
) -> Counts:
    """Count the instructions of one inference at batch 1 by ONNX Runtime `version` on an emulated `core`.

    With one thread a count repeats to the instruction where nothing but the model's path changed, and to some hundred
    where that did. With several, waiting for each other is counted too, which depends on how busy this machine is;
    multiplications repeat all the same.

    Args:
        inputs: one array per input of the model; made up from `seed` by default.
        by_node: also count every node, by the runtime's own profile.
        session: session config entries by key.

    Raises:
        UsageError: an unknown core or version.
        PlaceLost: the emulation kit is not there; the message says how to fetch it.
        BadInput: no sound model, or one that the runtime refuses.
        EdgekdError: the emulated program died.
    """
    kit = find_kit(core, version)
    graph = read_onnx(model)
    fed = list(inputs) if inputs is not None else made_up(model, input_specs(model, graph), seed)

    def with_library(library: Path) -> Counts:
        return _count(kit, model, library, threads=threads, by_node=by_node, fed=fed, session=session)

    inside = [*graph.graph.node, *(node for function in graph.functions for node in function.node)]
    dependent = sorted(VALUE_DEPENDENT.intersection(_operators(inside)))
    if not dependent:
        try:
            return with_library(patched_library(version, kit.library))
        except EdgekdError as error:
            note = f"counted with every multiplication carried out, for without: {error}"
    else:
        note = (
            f"counted with every multiplication carried out, for the work of {', '.join(dependent)} depends on values"
        )
    _log.info("%s", note)
    return with_library(kit.library).model_copy(update={"note": note})


def _count(
    kit: Kit,
    model: Path,
    library: Path,
    *,
    threads: int,
    by_node: bool,
    fed: Sequence[Array],
    session: Mapping[str, Any] | None,
) -> Counts:
    with tempfile.TemporaryDirectory(prefix="edgekd-count-") as scratch:
        data, marks = Path(scratch, "inputs"), Path(scratch, "marks")
        data.write_bytes(b"".join(array.tobytes() for array in fed))
        said = emulate(
            kit,
            model,
            library=library,
            inputs=data,
            tensors=told(fed),
            warmup=1,
            threads=threads,
            session=session,
            profile=Path(scratch, "profile") if by_node else None,
            marks=marks,
        )
        moments = _read_marks(marks)
        plain = [counts for kind, _, counts in moments if kind != _TICK]
        spent = plain[3] - plain[2]  # 0 and 1 are begin and end of the run that warms up
        nodes = _nodes(Path(said[-2]), int(said[-1]), moments, spent.sum(axis=0)) if by_node else ()
    each = spent[np.argsort(-spent[:, 0])][:threads] if threads > 1 else ()
    return Counts(
        core=kit.core.name,
        version=kit.version,
        threads=threads,
        instructions=_instructions(spent.sum(axis=0)),
        nodes=nodes,
        by_thread=tuple(_instructions(row) for row in each),
    )


Moments = list[tuple[int, int, npt.NDArray[np.int64]]]
"""Marks in order: kind, number, and counts so far (virtual CPUs, classes)."""


def _read_marks(path: Path) -> Moments:
    lines = [[int(word) for word in line.split()] for line in path.read_text(encoding="ascii").splitlines()]
    vcpus = max(line[2] for line in lines) + 1
    moments: Moments = []
    for kind, number, vcpu, *counts in lines:
        if not moments or moments[-1][:2] != (kind, number):
            moments.append((kind, number, np.zeros((vcpus, len(KINDS)), np.int64)))
        moments[-1][2][vcpu] = counts
    return moments


def _nodes(profile: Path, started_ns: int, moments: Moments, spent: npt.NDArray[np.int64]) -> tuple[NodeCounts, ...]:
    """Counts of each node between the two questions for the time that its entry in the runtime's profile consists of.

    The clock counts those questions, so an event's time is the number of its mark. Writing an entry costs about as
    much whatever the node (26,000 instructions in 1.31); what all nodes have too many of, compared with the same
    inference without a profile, `spent` (classes,), is taken off in equal parts.
    """
    at = {number: counts.sum(axis=0) for kind, number, counts in moments if kind == _TICK}
    first = (started_ns - _CLOCK_STARTS_AT) // _NANOSECONDS_PER_TICK
    events = json.loads(profile.read_text(encoding="utf-8", errors="replace"))
    last_run = max(event["ts"] for event in events if event.get("name") == "model_run")
    entries = [e for e in events if e.get("name", "").endswith(_ENTRY) and e["ts"] >= last_run]
    outermost: list[tuple[dict[str, Any], int]] = []
    for entry in sorted(entries, key=lambda e: (e["ts"], -e["dur"])):
        if outermost and entry["ts"] < outermost[-1][0]["ts"] + outermost[-1][0]["dur"]:
            outermost[-1] = (outermost[-1][0], outermost[-1][1] + 1)
        else:
            outermost.append((entry, 1))
    counted = [at[first + e["ts"] + e["dur"]] - at[first + e["ts"]] for e, _ in outermost]
    too_many = (sum(counted) - spent) / max(1, len(entries))
    return tuple(
        NodeCounts(
            name=entry["name"].removesuffix(_ENTRY),
            operator=entry["args"]["op_name"],
            instructions=_instructions(np.maximum(0, np.rint(taken - inside * too_many)).astype(np.int64)),
        )
        for (entry, inside), taken in zip(outermost, counted, strict=True)
    )


def _instructions(counts: npt.NDArray[np.int64]) -> Instructions:
    found = dict(zip(KINDS, counts.tolist(), strict=True))
    return Instructions(
        total=found["total"],
        multiply_float=found["multiply_float"],
        multiply_int8=found["dot_product"] + found["multiply_long"],
        dot_product=found["dot_product"],
        loads=found["load"],
        stores=found["store"],
        branches=found["branch"],
    )


def _operators(nodes: Iterable[onnx.NodeProto]) -> Iterable[str]:
    """The operators of nodes and of the graphs inside them."""
    for node in nodes:
        yield node.op_type
        for attribute in node.attribute:
            for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _operators(graph.node)
