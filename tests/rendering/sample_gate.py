"""What a gate that compared with a baseline found, and the same with hostile names; loaded by `runpy.run_path`."""

from typing import Any

from edgekd.figures import Number
from edgekd.gate_result import Baseline, Comparison, GateResult
from edgekd.results import BudgetOutcome

TARGET = "raspberry-pi-4"
HOSTILE = (
    "::error title=x::y",
    "a\n::stop-commands::token\nb",
    "a\r::add-mask::b",
    "##[error]x",
    "%0A::error::x",
    "%0D%0A%25",
    "a,b=c:d::warning::e",
    "]]>",
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "=cmd|' /C calc'!A0",
    "\x00\x1b]0;x\x07\u202e\ud800\u2028::error::x",
    "",
)
"""Names as a model file or a path may hold them: each would start a command, a tag or a formula somewhere."""


def gate_result(hostile: str | None = None, **changes: Any) -> GateResult:
    """A missed latency budget, a drop that only warns, and one of each kind of comparison."""
    values: dict[str, Any] = {
        "schema": 1,
        "verdict": "missed",
        "exit_code": 1,
        "reason": hostile or "Latency is over its limit.",
        "target": hostile or TARGET,
        "run": hostile or "runs/model",
        "outcomes": (
            BudgetOutcome(
                metric="latency",
                limit=30.0,
                unit="ms",
                actual=number(31.5, "ms", "measured", hostile or "ssh://pi@pi4"),
                verdict="missed",
                reason=hostile or "over the limit by 5 %",
            ),
            BudgetOutcome(
                metric="drop",
                limit=0.01,
                unit="fraction",
                severity="warn",
                actual=number(0.012, "fraction", "measured", "host"),
                verdict="missed",
                reason="over the limit by 0.2 points",
            ),
            BudgetOutcome(
                metric="size",
                limit=256.0,
                unit="KiB",
                actual=number(200.0, "KiB", "measured", "file"),
                verdict="pass",
            ),
        ),
        "baseline": hostile_baseline(hostile) if hostile else baseline(),
    }
    return GateResult.model_validate({**values, **changes})


def baseline() -> Baseline:
    """A regression, an undecided time, more MACs that only warn, a smaller file; peak memory is left out."""
    core = "emulate:cortex-a72"
    return Baseline(
        name="main/results.json",
        edgekd="0.1.0",
        sha256="ab" * 32,
        comparisons=(
            Comparison(
                metric="instructions",
                baseline=number(50_000_000, "count", "emulated", core),
                now=number(50_600_000, "count", "emulated", core),
                change=Number(value=0.012, low=0.012, high=0.0120001, unit="share", word="emulated", place=core),
                smallest_effect=0.005,
                verdict="regression",
                reason="more than 0.5 %",
            ),
            Comparison(
                metric="time",
                baseline=None,
                now=None,
                change=Number(value=0.02, low=-0.01, high=0.05, unit="share", word="measured", place="host"),
                smallest_effect=0.03,
                verdict="inconclusive",
                reason="out of time",
            ),
            Comparison(
                metric="macs",
                baseline=number(60e6, "count", "measured", "file"),
                now=number(63e6, "count", "measured", "file"),
                change=number(0.05, "share", "measured", "file"),
                smallest_effect=0.0,
                verdict="regression",
                severity="warn",
            ),
            Comparison(
                metric="size",
                baseline=number(220.0, "KiB", "measured", "file"),
                now=number(200.0, "KiB", "measured", "file"),
                change=number(-20 / 220, "share", "measured", "file"),
                smallest_effect=0.01,
                verdict="improvement",
            ),
        ),
        left_out={"memory": "it was measured on another machine"},
        notes=("The baseline was written by edgekd 0.1.0.",),
    )


def hostile_baseline(name: str) -> Baseline:
    """The same with `name` wherever a foreign string can stand."""
    plain = baseline()
    return Baseline(
        name=name,
        comparisons=tuple(c.model_copy(update={"metric": name or "x", "reason": name}) for c in plain.comparisons),
        left_out={name: name},
        notes=(name,),
    )


def number(value: float, unit: str, word: str, place: str) -> Number:
    """A figure without an interval."""
    return Number.model_validate({"value": value, "unit": unit, "word": word, "place": place})
