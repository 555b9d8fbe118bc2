"""Which candidate ships, by hand-made figures."""

import pytest

from edgekd.budget import parse_budgets
from edgekd.figures import Number
from edgekd.results import Candidate
from edgekd.stages.choose import DEFAULT_DROP, choose


def number(value: float, word: str = "estimated", unit: str = "ms") -> Number:
    return Number(value=value, low=0.9 * value, high=1.1 * value, unit=unit, word=word, place="pi")


def candidate(scheme: str, ms: float, *, size: float = 100.0, word: str = "estimated", ratio=None) -> Candidate:
    return Candidate(
        id=f"{scheme}-onnxruntime",
        scheme=scheme,
        runtime="onnxruntime",
        file=f"{scheme}.onnx",
        sha256="0" * 64,
        size_kib=size,
        latency_p50_ms=number(ms, word),
        latency_p95_ms=number(ms, word),
        host_ratio_to_fp32=ratio,
    )


def decide(*candidates: Candidate, scores=None, teacher=0.90, fp32=0.90, budgets=(), rejected=None):
    """`scores` are those on validation by scheme; `teacher` and `fp32` those on test."""
    validation = {f"{scheme}-onnxruntime": score for scheme, score in (scores or {}).items()}
    score = number(fp32, "measured", "score")
    return choose(
        [c.model_copy(update={"score": score}) if c.scheme == "fp32" else c for c in candidates],
        rejected=rejected or {},
        validation=validation,
        teacher=number(teacher, "measured", "score"),
        target="pi",
        budgets=parse_budgets(budgets),
    )


def test_the_fastest_inside_the_allowed_drop_ships() -> None:
    choice = decide(
        candidate("fp32", 10), candidate("int8_static", 4), scores={"fp32": 0.90, "int8_static": 0.90 - DEFAULT_DROP}
    )
    assert choice.chosen.scheme == "int8_static"
    assert "2.50 times as fast as fp32" in choice.chosen.reason
    assert [c.chosen for c in choice.candidates] == [False, True]


def test_what_loses_too_much_never_ships_however_fast() -> None:
    choice = decide(candidate("fp32", 10), candidate("int8_static", 1), scores={"fp32": 0.90, "int8_static": 0.87})
    assert choice.chosen.scheme == "fp32"
    loser = next(c for c in choice.candidates if c.scheme == "int8_static")
    assert loser.reason == "loses 3.00 points; 2 are allowed"


def test_the_drop_budget_replaces_the_default() -> None:
    scores = {"fp32": 0.90, "int8_static": 0.87}
    choice = decide(candidate("fp32", 10), candidate("int8_static", 1), scores=scores, budgets=["drop=4%"])
    assert choice.chosen.scheme == "int8_static"


def test_what_is_slower_than_fp32_on_the_target_never_ships() -> None:
    choice = decide(candidate("fp32", 10), candidate("int8_static", 10.5, size=25), scores={})
    assert choice.chosen.scheme == "fp32"
    assert "not faster than fp32: 10.5 against 10.0 ms, estimated" in choice.candidates[1].reason


@pytest.mark.parametrize(
    ("ms", "said"),
    [(1.8, "1.80 against 1.79 ms"), (1.7904, "1.7904 against 1.7900 ms"), (1.79, "1.79 against 1.79 ms")],
)
def test_two_latencies_have_the_digits_that_tell_them_apart(ms: float, said: str) -> None:
    choice = decide(candidate("fp32", 1.79), candidate("int8_static", ms))
    assert f"not faster than fp32: {said}, estimated" in choice.candidates[1].reason


def test_where_the_target_is_measured_the_whole_interval_of_the_ratio_decides() -> None:
    unsure = Number(value=0.97, low=0.92, high=1.02, unit="x", word="measured", place="host")
    sure = Number(value=0.93, low=0.90, high=0.96, unit="x", word="measured", place="host")
    fp32 = candidate("fp32", 10, word="measured")
    assert decide(fp32, candidate("int8_static", 9, word="measured", ratio=unsure)).chosen.scheme == "fp32"
    assert decide(fp32, candidate("int8_static", 9, word="measured", ratio=sure)).chosen.scheme == "int8_static"


def test_a_host_ratio_decides_nothing_for_another_target() -> None:
    slow_here = Number(value=3.0, low=2.9, high=3.1, unit="x", word="measured", place="host")
    choice = decide(candidate("fp32", 10), candidate("int8_static", 4, ratio=slow_here))
    assert choice.chosen.scheme == "int8_static"


def test_a_broken_candidate_never_ships() -> None:
    choice = decide(
        candidate("fp32", 10), candidate("int8_static", 4), rejected={"int8_static-onnxruntime": "mostly noise"}
    )
    assert choice.chosen.scheme == "fp32"
    assert choice.candidates[1].reason == "mostly noise"


def test_where_fp32_itself_lost_too_much_quantization_is_held_against_fp32() -> None:
    fp32, static = candidate("fp32", 10), candidate("int8_static", 4)
    choice = decide(fp32, static, fp32=0.80, scores={"fp32": 0.95, "int8_static": 0.947})
    assert choice.chosen.scheme == "int8_static"
    assert choice.warnings == ("fp32 itself loses 10.00 points; 2 are allowed",)
    choice = decide(fp32, static, fp32=0.80, scores={"fp32": 0.95, "int8_static": 0.94})
    assert choice.chosen.scheme == "fp32"
    assert choice.candidates[1].reason == "loses 11.00 points; 10.5 are allowed"


def test_a_teacher_that_has_seen_the_validation_images_does_not_raise_the_bar() -> None:
    """The float model's loss is taken from test: on validation a teacher may score 100 % from memory."""
    scores = {"fp32": 0.95, "int8_static": 0.949}
    choice = decide(candidate("fp32", 10), candidate("int8_static", 4), fp32=0.89, scores=scores)
    assert choice.chosen.scheme == "int8_static"
    assert "0.10 points lost on top of fp32" in choice.chosen.reason


def test_a_candidate_inside_the_budgets_beats_a_faster_one_outside() -> None:
    small = candidate("int8_static", 6, size=25)
    fast = candidate("int8_dynamic", 5, size=90)
    choice = decide(candidate("fp32", 10), fast, small, budgets=["size=50KiB"])
    assert choice.chosen.scheme == "int8_static"


def test_the_order_of_candidates_changes_nothing() -> None:
    fp32, a, b = candidate("fp32", 10), candidate("int8_static", 4), candidate("int8_dynamic", 5)
    assert decide(fp32, a, b).chosen == decide(b, a, fp32).chosen
