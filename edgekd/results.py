"""What a run found out: the records behind results.json.

Every figure that was taken or predicted is a `Number`, which carries how it was obtained. Stages return these records;
the report is a pure function of them.
"""

import json
from typing import Any, Literal

from pydantic import Field

from edgekd.figures import Figures, Number, Role
from edgekd.judgement import Judgement
from edgekd.quantization import LadderStep, SchemeFile
from edgekd.record import Record

Verdict = Literal["pass", "missed", "inconclusive"]
MOST_CONFUSED = 400
"""Of up to 20 classes this holds every pair."""
EXIT_CODES: dict[Verdict, int] = {"pass": 0, "missed": 1, "inconclusive": 5}


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
    pareto: bool = False
    """Whether no other candidate is at least as good in score, latency and memory, and better in one of them."""
    scored_on: str | None = None
    """Architecture that the score was taken on, where its integer kernels round otherwise than the target's."""


class SessionTrial(Record):
    """One way to run what ships, weighed and timed on the host against the runtime's usual session."""

    session: dict[str, Any]
    """Options that differ from the usual ones; `file` is what was loaded where that is not model.onnx."""
    peak_memory_kib: Number | None = None
    cost: Number | None = None
    """CPU time of one inference relative to the usual session; of other threads, the 10th percentile of wall time."""
    taken: bool = False
    reason: str


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
    unlabelled: int = 0
    """Training samples without a label, where others have one: the control goes without them."""
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
    given_in: str | None = None
    """Unit in which the user gave the limit, such as "KB"."""
    severity: Literal["error", "warn"] = "error"
    actual: Number | None = None
    verdict: Verdict
    reason: str = ""


class ConfusedPair(Record):
    """How many test samples of the class `truth` are taken for the class `answer`."""

    truth: str
    answer: str
    shipped: int
    teacher: int | None = None
    """None where that is not known."""


class Confusion(Record):
    """Which classes what shipped takes for which, on test."""

    samples: dict[str, int]
    """Test samples by class."""
    pairs: tuple[ConfusedPair, ...]
    """The most frequent mistakes first, at most `MOST_CONFUSED`."""


class DeviceEstimate(Record):
    """What ships, estimated for another device; `error` says why it cannot be."""

    target: str
    latency_ms: Number | None = None
    peak_memory_kib: Number | None = None
    error: str | None = None


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
    files: tuple[SchemeFile, ...] = ()
    """What every scheme wrote, whatever runs it."""
    skipped: dict[str, str] = {}
    """Scheme to the reason why it does not apply."""
    ladder: tuple[LadderStep, ...] = ()
    """int8 schemes of rising effort, as far as they were tried."""
    sessions: tuple[SessionTrial, ...] = ()
    """What was tried of the runtime's options for what ships; all of it on the host."""
    budgets: tuple[BudgetOutcome, ...]
    distillation: Distillation | None = None
    judgement: Judgement | None = None
    parity: tuple[Parity, ...] = ()
    per_class: dict[str, dict[str, float]] = {}
    """Class name to a share by model: {"cat": {"teacher": 0.9, "shipped": 0.88}}."""
    per_class_name: str = "recall"
    """What that share is."""
    confusion: Confusion | None = None
    latency_by_operator: dict[str, float] = {}
    """Milliseconds on the target by operator class, for the shipped model: emulated where its latency is, else
    estimated."""
    devices: tuple[DeviceEstimate, ...] = ()
    """What ships on every device that a profile ships for."""
    artifact: dict[str, str] = {}
    """File in the artifact to its SHA-256."""
    seconds: dict[str, float] = {}
    """Wall seconds by stage, as first run."""
    finished: str | None = None
    """When the last stage was first finished, in UTC as ISO 8601."""
    fallbacks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    """What this run could not find out, in sentences."""


def schema_text() -> str:
    """The JSON schema of results.json, as published in `docs/results.schema.json`."""
    return json.dumps(Report.model_json_schema(by_alias=True), indent=1) + "\n"
