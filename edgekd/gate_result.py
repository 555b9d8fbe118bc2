"""What the gate decided: budgets held against figures, and a build against its baseline.

A comparison says how much worse or better one figure became, and whether that is worth failing a build for.
"""

from typing import Literal

from pydantic import Field

from edgekd.budget import Severity
from edgekd.figures import Number
from edgekd.record import Record
from edgekd.results import BudgetOutcome

GateVerdict = Literal["pass", "missed", "regression", "inconclusive"]
ComparisonVerdict = Literal["pass", "regression", "improvement", "inconclusive"]
GATE_EXIT_CODES: dict[GateVerdict, int] = {"pass": 0, "missed": 1, "regression": 1, "inconclusive": 5}


class Comparison(Record):
    """One figure of a build beside the baseline's.

    `change` is the new figure over the old one less one, in unit "share"; of a score it is the new one less the old
    one, in unit "fraction", and of a count of operators likewise, in unit "count". A change up to `smallest_effect`, in
    the same unit, is no regression worth failing.
    """

    metric: str
    baseline: Number | None
    now: Number | None
    change: Number | None
    smallest_effect: float
    verdict: ComparisonVerdict
    severity: Severity = "error"
    reason: str = ""


class Baseline(Record):
    """What a build was compared with. `left_out` says of each figure that could not be compared why."""

    name: str
    edgekd: str | None = None
    """Version that wrote its figures; None of a bare ONNX file."""
    sha256: str | None = None
    """Of its model file, where that is known."""
    comparisons: tuple[Comparison, ...] = ()
    left_out: dict[str, str] = {}
    notes: tuple[str, ...] = ()


class GateResult(Record):
    """What the gate decided about one run, artifact or ONNX file, `run`. `reason` is the verdict in a sentence."""

    schema_version: Literal[1] = Field(1, alias="schema")
    verdict: GateVerdict
    exit_code: int
    reason: str
    target: str
    run: str
    outcomes: tuple[BudgetOutcome, ...]
    baseline: Baseline | None = None
