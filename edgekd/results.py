"""What a run found out: the records behind results.json.

Every figure that was taken or predicted is a `Number`, which carries how it was obtained. Stages return these records;
the report is a pure function of them. Units end the name: `latency_p95_ms`, `size_kib`.
"""

import json
from typing import Any, Literal

from pydantic import Field

from edgekd.record import Record

Word = Literal["measured", "emulated", "estimated"]
Verdict = Literal["pass", "missed", "inconclusive"]
EXIT_CODES: dict[Verdict, int] = {"pass": 0, "missed": 1, "inconclusive": 5}


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


class Figures(Record):
    """What is known of one model. `latency_*` and `peak_memory_kib` are for the target; `host` holds what was measured
    here, which says little about another device and decides nothing for it."""

    score: Number | None = None
    metrics: dict[str, float] = {}
    macs: int | None = None
    params: int | None = None
    size_kib: float | None = None
    latency_p50_ms: Number | None = None
    latency_p95_ms: Number | None = None
    peak_memory_kib: Number | None = None
    host: "Bench | None" = None


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


class SchemeFile(Record):
    """One scheme's file; `rejected` says why it does not compete, `twin` is the file timed on the host in its place."""

    scheme: str
    file: str
    sha256: str
    size_kib: float
    sqnr_db: float | None = None
    operators: dict[str, int] = {}
    twin: str | None = None
    rejected: str | None = None


class Candidate(Figures):
    """An exported model under one scheme for one runtime, and why it was or was not chosen."""

    id: str
    scheme: str
    runtime: str
    session: dict[str, Any] = {}
    file: str
    sha256: str
    chosen: bool = False
    reason: str = ""
    timed_as: str | None = None
    """Id of the twin that was timed on the host in its place, where this file's kernels differ there."""
    host_ratio_to_fp32: Number | None = None
    """CPU time per inference relative to fp32, paired and interleaved on the host; below 1 is faster."""
    sqnr_db: float | None = None
    """Signal to quantization noise of the logits against the float model, in decibels."""
    operators: dict[str, int] = {}


class Parity(Record):
    """How far an exported graph's output is from the module's, over the same inputs."""

    output: str
    max_abs: float
    cosine: float
    sqnr_db: float


class Curve(Record):
    """Validation score over training, one point per evaluation."""

    steps: tuple[int, ...] = ()
    losses: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()


class Distillation(Record):
    """What training did: where the student came from, how long it trained, and what the teacher was worth."""

    student: str
    origin: str
    macs_kept: float | None
    """Share of the teacher's multiply-accumulates; None where those cannot be counted."""
    loss: str
    steps: int
    images: int
    seconds: float
    accelerator: str
    precision: str
    curves: dict[str, Curve]
    gain: Number | None = None
    """Validation score of the distilled student minus the control's; the interval is a paired bootstrap over images."""
    shipped: Literal["student", "control"]
    reason: str


class BudgetOutcome(Record):
    """One budget held against the figure it is about."""

    metric: str
    limit: float
    unit: str
    severity: Literal["error", "warn"] = "error"
    actual: Number | None = None
    verdict: Verdict
    reason: str = ""


class SourceModel(Record):
    """The file that came in."""

    path: str
    sha256: str


class Report(Record):
    """results.json, whole. `schema` is raised whenever a key changes its meaning."""

    schema_version: Literal[1] = Field(1, alias="schema")
    edgekd: str
    verdict: Verdict
    exit_code: int
    headline: str
    target: str
    model: SourceModel
    splits: dict[str, Any] | None
    seed: int
    command: str
    environment: dict[str, Any]
    recipe: dict[str, Any]
    score_name: str | None
    """What `score` is: "accuracy", "agreement" with the teacher where there are no labels, or None without data."""
    classes: tuple[str, ...] = ()
    models: dict[Literal["teacher", "control", "student", "shipped"], Figures | None]
    candidates: tuple[Candidate, ...]
    budgets: tuple[BudgetOutcome, ...]
    distillation: Distillation | None = None
    parity: tuple[Parity, ...] = ()
    per_class: dict[str, dict[str, float]] = {}
    """Class name to recall by model: {"cat": {"teacher": 0.9, "shipped": 0.88}}."""
    latency_by_operator: dict[str, float] = {}
    """Estimated milliseconds on the target by operator class, for the shipped model."""
    artifact: dict[str, str] = {}
    """File in the artifact to its SHA-256."""
    seconds: dict[str, float] = {}
    """Wall seconds by stage, as first run."""
    fallbacks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    """What this run could not find out, in sentences."""


def schema_text() -> str:
    """The JSON schema of results.json, as published in `docs/results.schema.json`."""
    return json.dumps(Report.model_json_schema(by_alias=True), indent=1) + "\n"
