"""`edgekd bench`: one ONNX file timed and weighed, or counted, as the record that `--json` prints."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from edgekd.errors import EdgekdError
from edgekd.figures import Latency, Memory
from edgekd.formats.onnx_file import read_onnx
from edgekd.latency.graph import summarise
from edgekd.places import emulate
from edgekd.places.timing import bench
from edgekd.record import Record
from edgekd.workspace import file_sha256


class BenchModel(Record):
    """The file that was run. MACs and parameters are counted on the graph as stored, at batch 1."""

    path: str
    sha256: str
    macs: int | None
    params: int | None


class BenchResult(Record):
    """`bench --json`. `environment` also holds the runtime, its version, threads and session options, the program that
    took the figures, whose process the memory is of, the conditions before, during and after, and `disturbed`: what
    made the figures worse than the machine is, in sentences.

    An emulated core has instructions and no times, a real machine has times and no instructions.
    """

    schema_version: Literal[1] = Field(1, alias="schema")
    model: BenchModel
    place: str
    environment: dict[str, Any]
    latency: Latency | None = None
    load_ms: float | None = None
    first_ms: float | None = None
    memory: Memory | None = None
    instructions: emulate.EmulatedInstructions | None = None


class BenchRow(Record):
    """One place of several: its result, or why there is none and the exit code that this alone would give."""

    place: str
    result: BenchResult | None
    error: str | None = None
    exit_code: int = 0


class BenchTable(Record):
    """`bench --json` with several `--on`; `exit_code` is the greatest of its rows'."""

    schema_version: Literal[1] = Field(1, alias="schema")
    places: tuple[BenchRow, ...]
    exit_code: int


def table_of(places: Sequence[str], run: Callable[[str], BenchResult]) -> BenchTable:
    """Run on one place after the other; one that fails does not stop the others."""
    rows = tuple(_row(place, run) for place in places)
    return BenchTable(schema=1, places=rows, exit_code=max((row.exit_code for row in rows), default=0))


def _row(place: str, run: Callable[[str], BenchResult]) -> BenchRow:
    try:
        return BenchRow(place=place, result=run(place))
    except EdgekdError as error:
        return BenchRow(place=place, result=None, error=str(error), exit_code=error.exit_code)


def bench_file(
    path: Path,
    *,
    place: str = "host",
    runtime: str = "onnxruntime",
    threads: int = 1,
    session: Mapping[str, Any] | None = None,
    min_runs: int = 50,
    min_seconds: float = 2.0,
    max_seconds: float = 30.0,
    seed: int = 0,
) -> BenchResult:
    """Check, count, time and weigh one ONNX file; the keywords are those of `edgekd.places.timing.bench`.

    Raises BadInput where the file is no sound ONNX model or the runtime refuses it, UsageError for an unknown place or
    runtime, PlaceLost where a place cannot be reached, and EdgekdError where the benchmark process dies.
    """
    if place.startswith(emulate.KIND):
        return _emulated(path, place, runtime=runtime, threads=threads, session=session, seed=seed)
    model = _model(path)
    taken = bench(
        path,
        on=place,
        runtime=runtime,
        threads=threads,
        session=session,
        min_runs=min_runs,
        min_seconds=min_seconds,
        max_seconds=max_seconds,
        seed=seed,
    )
    how = {"runtime": taken.runtime, "runtime_version": taken.runtime_version, "threads": threads}
    return BenchResult(
        schema=1,
        model=model,
        place=taken.place,
        environment={**taken.environment, **how, "session": taken.session, "disturbed": list(taken.disturbed)},
        latency=taken.latency,
        load_ms=taken.load_ms,
        first_ms=taken.first_ms,
        memory=taken.memory,
    )


def _model(path: Path) -> BenchModel:
    summary = summarise(read_onnx(path))
    return BenchModel(path=str(path), sha256=file_sha256(path), macs=summary.macs, params=summary.params)


def _emulated(
    path: Path, place: str, *, runtime: str, threads: int, session: Mapping[str, Any] | None, seed: int
) -> BenchResult:
    model = _model(path)
    taken = emulate.bench(path, place=place, runtime=runtime, threads=threads, session=session, seed=seed)
    how = {"runtime": runtime, "runtime_version": taken.runtime_version, "threads": threads}
    return BenchResult(
        schema=1,
        model=model,
        place=taken.place,
        environment={**taken.environment, **how, "session": dict(session or {}), "disturbed": []},
        instructions=taken.instructions,
    )
