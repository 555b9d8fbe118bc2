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
Role = Literal["teacher", "control", "student", "shipped"]
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
    drop: Number | None = None
    """Teacher's score minus this one's as a share of 1, with a paired interval over the same test samples."""
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
    """CPU time per inference relative to fp32, paired and interleaved on the host; below 1 is faster. Exactly 1 for
    fp32 in ONNX Runtime, which is the reference."""
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
    samples: int
    seconds: float
    accelerator: str
    precision: str
    curves: dict[str, Curve]
    gain: Number | None = None
    """Validation score of the distilled student minus the control's; the interval is a paired bootstrap over images."""
    shipped: Literal["student", "control"]
    reason: str


class PairedResult(Record):
    """The student trained with the teacher, and trained alike without it (the control); both scored on unseen samples.

    `gain` is student minus control on the same samples, and its interval covers the choice of samples only."""

    teacher: Number
    control: Number
    student: Number
    gain: Number
    steps: int
    """Steps of either training."""
    seconds: float
    """Wall seconds of both trainings."""


class SeedResult(PairedResult):
    """One seed of initial weights, sample order and augmentation; scored on the test split."""

    seed: int


class FoldResult(PairedResult):
    """One fold of cross-validation, held out from both trainings and scored. A teacher may have been trained on it."""

    fold: int


class AblationRow(Record):
    """One way to teach the same student with the same budget and seed; a training that broke has a note, no score."""

    name: str
    score: Number | None = None
    difference: Number | None = None
    """Score minus that of labels only."""
    seconds_per_1000_samples: float | None = None
    peak_memory_kib: float | None = None
    note: str = ""


class TuningTrial(Record):
    """One short training in the search for settings; its score is on validation."""

    number: int
    settings: dict[str, float]
    score: float | None = None
    ended_early: bool
    best: bool


class Fidelity(Record):
    """How like the teacher's one model's outputs are on test samples. All but agreement and CKA need classes."""

    agreement: Number | None = None
    """The score that the model would have if the teacher were always right."""
    kl: Number | None = None
    """Mean KL(teacher || model) in nats at temperature 1; None where it is not finite."""
    inherited_mistakes: Number | None = None
    """Share of the model's mistakes that give the teacher's own wrong class."""
    cka: dict[str, float] = {}
    """Linear CKA with the teacher's features, 0 to 1, by pair of layers."""


class Comparison(Record):
    """Teacher, student and control on the same test samples, all with the first seed."""

    fidelity: dict[Role, Fidelity] = {}
    expected_calibration_error: dict[Role, float] = {}
    inherited_excess: Number | None = None
    """Share of inherited mistakes, student minus control: the control's share is what hard samples alone explain."""
    class_gains: dict[str, Number] = {}
    """Recall of the student minus that of the control by class name; `n` is the class's test samples."""


class Judgement(Record):
    """What the teacher was worth: the same student with and without it, over seeds, folds and ways to teach."""

    seeds: tuple[SeedResult, ...] = ()
    seed_scores: dict[Role, Number] = {}
    """Mean test score over seeds; the interval covers the choice of seed."""
    gain_over_seeds: Number | None = None
    """Mean gain over seeds with the interval of Student's t; None for a single seed."""
    gap_recovered: Number | None = None
    """Gain as a share of what the control lacks to the teacher; None where it lacks nothing for certain."""
    ablation: tuple[AblationRow, ...] = ()
    folds: tuple[FoldResult, ...] = ()
    gain_over_folds: Number | None = None
    tuning: tuple[TuningTrial, ...] = ()
    comparison: Comparison | None = None


class BudgetOutcome(Record):
    """One budget held against the figure it is about."""

    metric: str
    limit: float
    unit: str
    given_in: str | None = None
    """Unit in which the user gave the limit, such as "KB"."""
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
    synthesised: bool = False
    """Whether there were no data, and inputs synthesised from the teacher took their place."""
    classes: tuple[str, ...] = ()
    models: dict[Role, Figures | None]
    candidates: tuple[Candidate, ...]
    budgets: tuple[BudgetOutcome, ...]
    distillation: Distillation | None = None
    judgement: Judgement | None = None
    parity: tuple[Parity, ...] = ()
    per_class: dict[str, dict[str, float]] = {}
    """Class name to a share by model: {"cat": {"teacher": 0.9, "shipped": 0.88}}."""
    per_class_name: str = "recall"
    """What that share is."""
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
