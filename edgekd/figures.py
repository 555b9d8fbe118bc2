"""What is known of one model, in figures that carry their interval and how they were obtained.

Units end the name: `latency_p95_ms`, `size_kib`.
"""

from typing import Any, Literal

from edgekd.record import Record

Word = Literal["measured", "emulated", "estimated"]
Role = Literal["teacher", "control", "student", "shipped"]


class Number(Record):
    """A figure with its interval and its word. `n` is the number of samples behind it (0 for an estimate)."""

    value: float
    low: float | None = None
    high: float | None = None
    level: float = 0.9
    unit: str
    word: Word
    place: str
    n: int = 0


class Latency(Record):
    """Percentiles of one inference at batch 1, in milliseconds."""

    p50_ms: Number
    p90_ms: Number
    p95_ms: Number
    p99_ms: Number
    mean_ms: Number


class Memory(Record):
    """Peak resident set of a fresh process in KiB: after importing the runtime, loading, the first run, and steady."""

    import_kib: float
    load_kib: float
    first_kib: float
    steady_kib: float


class Bench(Record):
    """One model timed and weighed on one place, in a process of its own."""

    place: str
    runtime: str
    runtime_version: str
    session: dict[str, Any] = {}
    latency: Latency
    cpu_ms: Number
    load_ms: float
    first_ms: float
    memory: Memory
    samples_ms: tuple[float, ...] = ()
    environment: dict[str, Any] = {}
    disturbed: tuple[str, ...] = ()
    instructions: dict[str, Any] | None = None


class Counted(Record):
    """Instructions that one inference executes at one thread on an emulated core, such as emulate:cortex-a72@1.31.1;
    `note` says what is unusual about the count, or nothing."""

    place: str
    by_class: dict[str, int]
    note: str = ""


class Figures(Record):
    """What is known of one model. `latency_*` and `peak_memory_kib` are for the target; `host` holds what was measured
    here, which says little about another device and decides nothing for it."""

    score: Number | None = None
    drop: Number | None = None
    """Teacher's score minus this one's as a share of 1, with a paired interval over the same test samples."""
    metrics: dict[str, float] = {}
    macs: int | None = None
    params: int | None = None
    size_kib: float | None = None
    latency_p50_ms: Number | None = None
    latency_p95_ms: Number | None = None
    peak_memory_kib: Number | None = None
    host: Bench | None = None
    instructions: Counted | None = None
    """What it executes on the target's core, emulated; the latency is made from it where that is emulated."""
