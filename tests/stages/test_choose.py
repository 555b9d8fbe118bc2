"""Which candidate ships, by hand-made figures."""

import pytest

from edgekd.budget import parse_budgets
from edgekd.figures import Number
from edgekd.results import Candidate
from edgekd.stages.choose import DEFAULT_DROP, DUELS, choose


def number(value: float, word: str = "estimated", unit: str = "ms") -> Number:
    return Number(value=value, low=0.9 * value, high=1.1 * value, unit=unit, word=word, place="pi")


def candidate(scheme: str, ms: float, *, size: float = 100.0, word: str = "estimated", **figures) -> Candidate:
    return Candidate(
        id=f"{scheme}-onnxruntime",
        scheme=scheme,
        runtime="onnxruntime",
        file=f"{scheme}.onnx",
        sha256="0" * 64,
        size_kib=size,
        latency_p50_ms=number(ms, word),
        latency_p95_ms=number(ms, word),
        **figures,
    )


def ratio(value: float, half: float = 0.0) -> Number:
    return Number(
        value=value, low=value - half, high=value + half, level=0.99, unit="x", word="measured", place="host", n=500
    )


def measured(scheme: str, share: float, half: float = 0.01, *, ms: float | None = None, **figures) -> Candidate:
    """A candidate measured on the target: `share` of fp32's CPU time; `ms` is its median, taken apart."""
    apart = 10 * share if ms is None else ms
    return candidate(scheme, apart, word="measured", host_ratio_to_fp32=ratio(share, half), **figures)


FP32 = measured("fp32", 1.0, 0.0)


def never(one: Candidate, other: Candidate) -> Number:
    raise AssertionError(f"{one.id} and {other.id} are told apart by their intervals")


def decide(*candidates: Candidate, scores=None, teacher=0.90, fp32=0.90, budgets=(), rejected=None, duel=None):
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
        duel=duel,
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
    unsure, sure = measured("int8_static", 0.97, 0.05), measured("int8_static", 0.93, 0.03)
    choice = decide(FP32, unsure)
    assert choice.chosen.scheme == "fp32"
    assert choice.candidates[1].reason == "not faster than fp32: 0.97 [0.92, 1.02] at 99 % of its CPU time"
    choice = decide(FP32, sure)
    assert choice.chosen.scheme == "int8_static"
    assert choice.chosen.reason.startswith("1.08 times as fast as fp32, [1.04, 1.11] at 99 %")


def test_measured_candidates_are_ranked_by_the_paired_ratio_not_by_medians_taken_apart() -> None:
    slow = measured("int8_static", 0.50, ms=4.0)
    fast = measured("int8_dynamic", 0.40, ms=5.0)
    choice = decide(FP32, slow, fast, duel=never)
    assert choice.chosen.scheme == "int8_dynamic"
    assert choice.candidates[1].reason == "int8_dynamic-onnxruntime is faster: 0.400 against 0.500 of fp32's CPU time"


@pytest.mark.parametrize(("share", "wins"), [(0.97, "int8_mixed"), (1.03, "int8_static")])
def test_two_that_overlap_are_run_in_turns_and_that_decides(share: float, wins: str) -> None:
    asked = []

    def duel(one: Candidate, other: Candidate) -> Number:
        asked.append((one.scheme, other.scheme))
        return ratio(share, 0.01)

    static, mixed = measured("int8_static", 0.500, 0.02), measured("int8_mixed", 0.505, 0.02)
    choice = decide(FP32, static, mixed, duel=duel)
    assert asked == [("int8_static", "int8_mixed")]
    assert choice.chosen.scheme == wins
    said = f"in turns, int8_mixed-onnxruntime takes {share} [{share - 0.01:.2f}, {share + 0.01:.2f}] at 99 %"
    loser = next(c for c in choice.candidates if not c.chosen and c.scheme != "fp32")
    assert said in loser.reason and loser.reason.startswith(f"{choice.chosen.id} is faster: ")
    assert said in choice.chosen.reason


def test_what_no_duel_tells_apart_is_decided_by_score_then_memory_then_size() -> None:
    def undecided(one: Candidate, other: Candidate) -> Number:
        return ratio(1.0, 0.02)

    def kib(value: float) -> Number:
        return number(value, "measured", "KiB")

    def won(a: Candidate, b: Candidate, **known) -> tuple[str, str]:
        choice = decide(FP32, a, b, duel=undecided, **known)
        loser = next(c for c in choice.candidates if not c.chosen and c.scheme != "fp32")
        return choice.chosen.scheme, loser.reason

    a = measured("int8_static", 0.500, 0.02, size=80, peak_memory_kib=kib(1010))
    b = measured("int8_mixed", 0.505, 0.02, size=70, peak_memory_kib=kib(1000))
    scores = {"fp32": 0.90, "int8_static": 0.895, "int8_mixed": 0.8975}
    reason = "as fast as int8_mixed-onnxruntime, which "
    assert won(a, b, scores=scores) == (
        "int8_mixed",
        f"{reason}scores higher on validation, 89.75 against 89.50 %",
    )
    assert won(a, b) == ("int8_mixed", f"{reason}is smaller, 70.0 against 80.0 KiB")  # 1 % of memory is none
    lighter = b.model_copy(update={"peak_memory_kib": kib(900), "size_kib": 90.0})
    assert won(a, lighter) == ("int8_mixed", f"{reason}takes less memory, 900 against 1010 KiB")
    same = a.model_copy(update={"id": "int8_mixed-onnxruntime", "scheme": "int8_mixed"})
    assert won(a, same)[0] == "int8_static"


def test_no_more_than_a_few_are_run_against_each_other() -> None:
    asked = []

    def undecided(one: Candidate, other: Candidate) -> Number:
        asked.append(other.scheme)
        return ratio(1.0, 0.02)

    decide(FP32, *(measured(f"int8_{i}", 0.5 + 0.001 * i, 0.05) for i in range(9)), duel=undecided)
    assert asked == [f"int8_{i}" for i in range(1, 1 + DUELS)]


def test_as_fast_as_fp32_ships_only_to_keep_a_budget_of_memory_or_size() -> None:
    alike = measured("int8_static", 0.99, 0.02, size=25)
    assert decide(FP32, alike).chosen.scheme == "fp32"
    assert decide(FP32, alike, budgets=["size=200KiB"]).chosen.scheme == "fp32"
    choice = decide(FP32, alike, budgets=["size=50KiB"], scores={"fp32": 0.9, "int8_static": 0.899})
    assert choice.chosen.scheme == "int8_static"
    said = "as fast as fp32, and keeps the budget of size, which fp32 misses; 0.10 points lost"
    assert choice.chosen.reason.startswith(said)
    assert choice.candidates[0].reason == "misses the budget of size, which int8_static-onnxruntime keeps"
    slower = measured("int8_static", 1.05, 0.02, size=25)
    assert decide(FP32, slower, budgets=["size=50KiB"]).chosen.scheme == "fp32"
    lighter = FP32.model_copy(update={"peak_memory_kib": number(900, "measured", "KiB")})
    heavier = alike.model_copy(update={"peak_memory_kib": number(1100, "measured", "KiB")})
    assert decide(lighter, heavier, budgets=["size=50KiB"]).chosen.scheme == "int8_static"
    better = {"fp32": 0.90, "int8_static": 0.901}
    both = ["size=50KiB", "memory=1000KiB"]
    assert decide(lighter, heavier, budgets=both, scores=better).chosen.scheme == "fp32"
    assert decide(FP32, alike, budgets=["latency=9.95ms"]).chosen.scheme == "fp32"  # 9.9 ms is no faster than 10
    lossy = {"fp32": 0.90, "int8_static": 0.87}
    assert decide(FP32, alike, budgets=["size=50KiB"], scores=lossy).chosen.scheme == "fp32"


def test_estimates_within_two_per_cent_are_alike_and_the_better_score_ships() -> None:
    scores = {"fp32": 0.90, "int8_static": 0.89, "int8_mixed": 0.895}
    fp32, static = candidate("fp32", 10), candidate("int8_static", 4.00)
    near, far = candidate("int8_mixed", 4.07), candidate("int8_mixed", 4.09)
    assert decide(fp32, static, near, scores=scores).chosen.scheme == "int8_mixed"
    assert decide(fp32, static, far, scores=scores).chosen.scheme == "int8_static"


def test_the_pareto_front_is_what_nothing_beats_in_score_latency_and_memory() -> None:
    def point(scheme: str, score: float, ms: float, kib: float) -> Candidate:
        figures = {"score": number(score, "measured", "score"), "peak_memory_kib": number(kib, unit="KiB")}
        return candidate(scheme, ms, **figures)

    fp32 = point("fp32", 0.90, 10, 900)  # the best score
    fast = point("int8_static", 0.88, 4, 500)  # the fastest
    small = point("int8_dynamic", 0.87, 6, 400)  # the least memory
    beaten = point("int8_mixed", 0.88, 5, 500)  # as good as the fastest, and slower
    unknown = candidate("fp16", 1).model_copy(update={"latency_p50_ms": None})
    choice = decide(fp32, fast, small, beaten, unknown)
    assert {c.scheme for c in choice.candidates if c.pareto} == {"fp32", "int8_static", "int8_dynamic"}
    unscored = [c.model_copy(update={"score": None}) for c in (fast, small, beaten)]
    latency_alone = decide(candidate("fp32", 10), *unscored)  # nor is the memory of fp32 known
    assert {c.scheme for c in latency_alone.candidates if c.pareto} == {"int8_static"}


def test_an_estimate_is_not_compared_with_what_was_emulated() -> None:
    fp32, static = candidate("fp32", 10, word="emulated"), candidate("int8_static", 6, word="emulated")
    estimate = candidate("int8_dynamic", 4)
    choice = decide(fp32, static, estimate, budgets=["memory=1MiB"])
    assert choice.chosen.scheme == "int8_static"
    assert choice.candidates[2].reason == "its latency is estimated and that of fp32 emulated, which is no comparison"
    assert [c.pareto for c in choice.candidates] == [False, True, False]
    alike = candidate("int8_dynamic", 10, peak_memory_kib=number(900, unit="KiB"))
    heavy = fp32.model_copy(update={"peak_memory_kib": number(2000, unit="KiB")})
    assert decide(heavy, alike, budgets=["memory=1MiB"]).chosen.scheme == "fp32"


def test_of_scores_on_other_samples_the_loss_against_the_teacher_counts() -> None:
    """The second scores more on fewer samples, of which the teacher has more right as well."""
    fp32 = candidate("fp32", 10, drop=number(0.01, unit="fraction"))
    static = candidate("int8_static", 10, drop=number(0.02, unit="fraction"), score=number(0.95, "emulated", "score"))
    choice = decide(fp32, static)
    assert [c.pareto for c in choice.candidates] == [True, False]


def test_a_host_ratio_decides_nothing_for_another_target() -> None:
    slow_here = ratio(3.0, 0.1)
    choice = decide(candidate("fp32", 10), candidate("int8_static", 4, host_ratio_to_fp32=slow_here), duel=never)
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
