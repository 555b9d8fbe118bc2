"""Benchmarks on an emulated core: instructions and outputs, never times, for an emulator's times are nobody's."""

import importlib.metadata
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgekd.emulation.cores import find_core
from edgekd.emulation.count import Instructions, NodeCounts, count
from edgekd.emulation.inputs import Array, input_specs, made_up
from edgekd.emulation.kit import checked_version, find_kit
from edgekd.emulation.outputs import emulated_outputs
from edgekd.errors import BadInput, UsageError
from edgekd.formats.onnx_file import read_onnx
from edgekd.record import Record
from edgekd.runtimes import find_runtime, in_one_line

_log = logging.getLogger(__name__)
KIND = "emulate:"


class EmulatedInstructions(Record):
    """What one inference executes. `by_operator` adds up the nodes of the graph as the runtime has optimised it.

    `difference_from_host` is the largest difference between an output of the emulated core and the same of this
    machine, relative to the largest value of that output.
    """

    word: Literal["emulated"] = "emulated"
    place: str
    by_class: Instructions
    by_operator: dict[str, Instructions]
    by_thread: tuple[Instructions, ...] = ()
    difference_from_host: float
    note: str = ""


class EmulatedBench(Record):
    """One model on an emulated core."""

    place: str
    runtime_version: str
    instructions: EmulatedInstructions
    environment: dict[str, Any]


def parse_emulated(place: str) -> tuple[str, str]:
    """Return core and version of ONNX Runtime of `emulate:CORE[@VERSION]`; the version is by default the one here.

    Raises:
        UsageError: an unknown core, or a version that is none.
    """
    name, _, version = place.removeprefix(KIND).partition("@")
    return find_core(name).name, checked_version(version or importlib.metadata.version("onnxruntime"))


def bench(
    model: Path,
    *,
    place: str,
    runtime: str = "onnxruntime",
    threads: int = 1,
    session: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> EmulatedBench:
    """Count one inference of a model at batch 1 on an emulated core, and compare its outputs with this machine's.

    Raises what `edgekd.emulation.count.count` does, and UsageError for another runtime.
    """
    if runtime != "onnxruntime":
        raise UsageError(f"Only onnxruntime can be emulated, not {runtime!r}.")
    core, version = parse_emulated(place)
    kit = find_kit(core, version)
    fed = made_up(model, input_specs(model, read_onnx(model)), seed)
    counted = count(model, core=core, version=version, threads=threads, by_node=True, inputs=fed, session=session)
    _log.info("counted; now the outputs, as the %s computes them", core)
    [there] = emulated_outputs(model, [fed], core=core, version=version, session=session)
    full_name = f"{KIND}{core}@{version}"
    return EmulatedBench(
        place=full_name,
        runtime_version=version,
        instructions=EmulatedInstructions(
            place=full_name,
            by_class=counted.instructions,
            by_operator=_by_operator(counted.nodes),
            by_thread=counted.by_thread,
            difference_from_host=_difference(there, _outputs_here(model, fed)),
            note=counted.note,
        ),
        environment={"core": core, "qemu": kit.qemu.version, "nodes": len(counted.nodes)},
    )


def _by_operator(nodes: Sequence[NodeCounts]) -> dict[str, Instructions]:
    """Sums over nodes, the operator that takes most first."""
    sums: dict[str, dict[str, int]] = {}
    for node in nodes:
        own = sums.setdefault(node.operator, dict.fromkeys(Instructions.model_fields, 0))
        for name, value in node.instructions:
            own[name] += value
    ordered = sorted(sums.items(), key=lambda pair: -pair[1]["total"])
    return {operator: Instructions(**values) for operator, values in ordered}


def _outputs_here(model: Path, fed: Sequence[Array]) -> list[Array]:
    session = find_runtime("onnxruntime").open(model)
    try:
        return [np.asarray(output) for output in session.run(fed)]
    except Exception as error:  # whatever the runtime raises
        raise BadInput(f"{model}: onnxruntime does not run it here: {in_one_line(str(error))}") from error


def _difference(there: Sequence[Array], here: Sequence[Array]) -> float:
    """The largest difference of any output, relative to its largest value; infinite where shapes differ."""
    worst = 0.0
    for ours, theirs in zip(here, there, strict=True):
        if ours.shape != theirs.shape:
            return float("inf")
        if ours.size:
            scale = float(np.abs(ours.astype(np.float64)).max()) or 1.0
            worst = max(worst, float(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max()) / scale)
    return worst
