import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.budget import Budget, judge, parse_budget, parse_budgets, score_drop, verdict
from edgekd.errors import UsageError
from edgekd.figures import Bench, Figures, Latency, Memory, Number, Word
from edgekd.results import BudgetOutcome, Verdict

TARGET = "raspberry-pi-4"


def number(
    value: float, low: float | None = None, high: float | None = None, *, word: Word, place: str = TARGET
) -> Number:
    return Number(value=value, low=low, high=high, unit="ms", word=word, place=place)


def score(value: float, half: float | None = None) -> Number:
    low, high = (None, None) if half is None else (value - half, value + half)
    return Number(value=value, low=low, high=high, unit="score", word="measured", place="host", n=1000)


@pytest.mark.parametrize(
    ("text", "metric", "limit"),
    [
        ("latency=30ms", "latency", 30.0),
        ("latency=0.5s", "latency", 500.0),
        ("latency=250us", "latency", 0.25),
        ("latency=250 µs", "latency", 0.25),
        (" load = 1.5 s ", "load", 1500.0),
        ("memory=64MiB", "memory", 65536.0),
        ("memory=1GiB", "memory", 1048576.0),
        ("size=500KB", "size", 488.28125),  # 500,000 / 1,024
        ("size=2mb", "size", 1953.125),  # 2,000,000 / 1,024
        ("size=1e3KiB", "size", 1000.0),
        ("drop=1%", "drop", 0.01),
        ("drop=0%", "drop", 0.0),
        ("drop=.5%", "drop", 0.005),
        ("latency_p50=20ms", "latency_p50", 20.0),
        ("latency_p95=20ms", "latency", 20.0),
        ("latency_p99=20ms", "latency_p99", 20.0),
        ("latency=60ms@raspberry-pi-4", "latency", 60.0),
    ],
)
def test_limits_are_read_in_canonical_units(text: str, metric: str, limit: float) -> None:
    budget = parse_budget(text)
    assert budget.metric == metric
    assert budget.limit == pytest.approx(limit, rel=1e-12)
    assert budget.severity == "error"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latency", "no '='"),
        ("latancy=30ms", "did you mean 'latency'"),
        ("latency=30", "no unit"),
        ("latency=30 parsecs", "unknown unit 'parsecs'"),
        ("latency=30mss", "did you mean 'ms'"),
        ("latency=30MiB", "unknown unit 'MiB'"),
        ("latency=fast", "no number"),
        ("latency=nan", "no number"),
        ("latency=nanms", "no number"),
        ("latency=infms", "no number"),
        ("latency=-3ms", "above zero"),
        ("latency=0ms", "above zero"),
        ("latency=1e999ms", "finite"),
        ("latency=30ms,load=1s", "no number"),
        ("latency=30ms:warn", "no number"),
        ("latency_p90=30ms", "did you mean 'latency_p9"),
        ("latency=30ms@", "no device after '@'"),
        ("latency=@pi4", "no number"),
        ("drop=0.01", "no unit"),
        ("drop=-1%", "between 0% and 100%"),
        ("drop=101%", "between 0% and 100%"),
        ("=30ms", "no known metric"),
        ("", "no '='"),
    ],
)
def test_nonsense_is_refused_in_one_sentence_with_an_example(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_budget(text)
    message = str(refused.value)
    assert said in message
    assert "write it like" in message
    assert "\n" not in message


@given(st.text(max_size=300))
def test_no_text_makes_anything_but_a_budget_or_a_usage_error(text: str) -> None:
    for candidate in (text, f"latency={text}", f"{text}=30ms"):
        try:
            budget = parse_budget(candidate)
        except UsageError as refused:
            message = str(refused)
            assert len(message) < 500
            assert message.isprintable()
        else:
            assert math.isfinite(budget.limit)


def test_one_metric_may_be_named_once() -> None:
    assert [b.metric for b in parse_budgets(["latency=30ms", "drop=1%"])] == ["latency", "drop"]
    with pytest.raises(UsageError, match="second one for latency"):
        parse_budgets(["latency=30ms", "drop=1%", "latency=40ms"])


@pytest.mark.parametrize(
    ("actual", "allow_estimate", "expected"),
    [
        (number(30.0, 29.0, 31.0, word="measured"), False, "pass"),
        (number(30.1, 29.0, 31.0, word="measured"), False, "missed"),
        (number(29.9, 29.0, 29.9, word="emulated"), False, "inconclusive"),
        (number(29.9, 29.0, 30.0, word="emulated"), True, "pass"),
        (number(29.9, 29.0, 30.1, word="emulated"), True, "inconclusive"),
        (number(30.2, 30.1, 30.3, word="emulated"), True, "missed"),
        (number(30.1, word="emulated"), True, "inconclusive"),
        (number(10.0, 9.0, 11.0, word="estimated"), False, "inconclusive"),
        (number(90.0, 80.0, 99.0, word="estimated"), False, "inconclusive"),
        (number(10.0, 9.0, 30.0, word="estimated"), True, "pass"),
        (number(90.0, 30.1, 99.0, word="estimated"), True, "missed"),
        (number(29.0, 28.0, 31.0, word="estimated"), True, "inconclusive"),
        (number(31.0, 29.0, 33.0, word="estimated"), True, "inconclusive"),
        (number(10.0, word="estimated"), True, "inconclusive"),
        (number(math.nan, 9.0, 10.0, word="measured"), True, "inconclusive"),
        (None, True, "inconclusive"),
        (number(10.0, 9.0, 11.0, word="measured", place="host"), True, "inconclusive"),
    ],
)
def test_latency_of_30_ms(actual: Number | None, allow_estimate: bool, expected: Verdict) -> None:
    [outcome] = judge(
        [Budget(metric="latency", limit=30.0)],
        Figures(latency_p95_ms=actual, latency_p50_ms=number(1.0, word="measured")),
        None,
        target=TARGET,
        allow_estimate=allow_estimate,
    )
    assert outcome.verdict == expected
    assert outcome.unit == "ms"
    spans = actual is not None and actual.high is not None and actual.high > 30.0
    estimated = actual is not None and actual.word != "measured"
    assert bool(outcome.reason) == (expected != "pass" or spans or estimated)


def benched(p99: float, n: int, place: str = "host") -> Figures:
    numbers = {f"p{q}_ms": number(1.0, word="measured", place=place) for q in (50, 90, 95)}
    tail = Number(value=p99, unit="ms", word="measured", place=place, n=n)
    latency = Latency(**numbers, p99_ms=tail, mean_ms=numbers["p50_ms"])
    memory = Memory(import_kib=1, load_kib=1, first_kib=1, steady_kib=1)
    facts = {"place": place, "runtime": "onnxruntime", "runtime_version": "1.31.1", "load_ms": 1.0, "first_ms": 1.0}
    bench = Bench(**facts, latency=latency, cpu_ms=numbers["p50_ms"], memory=memory)
    p95 = number(2.0, word="measured", place=place)
    return Figures(host=bench, latency_p50_ms=numbers["p50_ms"], latency_p95_ms=p95)


@pytest.mark.parametrize(
    ("figures", "target", "verdict", "said"),
    [
        (benched(30.0, 200), "host", "pass", ""),
        (benched(30.1, 200), "host", "missed", "over the limit by 0.33 %"),
        (benched(30.0, 100), "host", "pass", ""),
        (benched(30.0, 99), "host", "inconclusive", "99 runs is their slowest; 100 are needed"),
        (benched(30.0, 200), TARGET, "inconclusive", "measured on host"),
        (Figures(latency_p95_ms=number(1.0, word="measured")), TARGET, "inconclusive", "only a measurement"),
    ],
)
def test_the_99th_percentile_needs_a_measurement_of_a_hundred_runs(
    figures: Figures, target: str, verdict: str, said: str
) -> None:
    [outcome] = judge([parse_budget("latency_p99=30ms")], figures, None, target=target, allow_estimate=True)
    assert (outcome.verdict, outcome.unit) == (verdict, "ms")
    assert said in outcome.reason


def test_each_percentile_is_held_against_its_own_figure() -> None:
    limits = [parse_budget(text) for text in ("latency_p50=1ms", "latency_p95=1ms", "latency_p99=1ms")]
    outcomes = judge(limits, benched(3.0, 200), None, target="host")
    assert [o.actual.value for o in outcomes if o.actual] == [1.0, 2.0, 3.0]
    assert [(o.metric, o.verdict) for o in outcomes] == [
        ("latency_p50", "pass"),
        ("latency", "missed"),
        ("latency_p99", "missed"),
    ]


def test_an_emulated_time_decides_as_an_estimate_and_an_emulated_score_by_its_value() -> None:
    time = Figures(latency_p95_ms=number(10.0, 9.0, 11.0, word="emulated"))
    [outcome] = judge([parse_budget("latency=30ms")], time, None, target=TARGET)
    assert (outcome.verdict, "from emulated instructions" in outcome.reason) == ("inconclusive", True)
    lost = Number(value=0.02, low=0.005, high=0.03, unit="fraction", word="emulated", place="emulate:cortex-a72", n=99)
    [outcome] = judge([parse_budget("drop=1%")], Figures(drop=lost), None, target=TARGET)
    assert outcome.verdict == "missed"


def test_the_host_may_be_the_target() -> None:
    here = Figures(latency_p95_ms=number(10.0, word="measured", place="host"))
    [outcome] = judge([Budget(metric="latency", limit=30.0)], here, None, target="host")
    assert outcome.verdict == "pass"


def test_every_metric_looks_at_its_own_figure() -> None:
    shipped = Figures(
        score=score(0.90),
        size_kib=400.0,
        latency_p95_ms=number(20.0, word="measured"),
        peak_memory_kib=number(3000.0, word="measured"),
    )
    limits = {"latency": 20.0, "memory": 3000.0, "size": 400.0, "load": 50.0, "drop": 0.03}
    budgets = [Budget.model_validate({"metric": metric, "limit": limit}) for metric, limit in limits.items()]
    load = number(50.0, word="measured")
    fit = judge(budgets, shipped, Figures(score=score(0.93)), target=TARGET, load_ms=load)
    assert [(o.metric, o.verdict) for o in fit] == [(metric, "pass") for metric in limits]
    tight = [b.model_copy(update={"limit": b.limit * 0.99}) for b in budgets]
    missed = judge(tight, shipped, Figures(score=score(0.93)), target=TARGET, load_ms=load)
    assert [o.verdict for o in missed] == ["missed"] * 5
    assert missed[0].reason == "over the limit by 1 %"
    unknown = judge(budgets, Figures(), None, target=TARGET)
    assert [o.verdict for o in unknown] == ["inconclusive"] * 5


@pytest.mark.parametrize(("value", "said"), [(1.004, "0.4 %"), (1.995, "99 %"), (2.0, "100 %"), (57.3, "5,630 %")])
def test_how_far_over_the_limit_is_said_in_plain_figures(value: float, said: str) -> None:
    [outcome] = judge([parse_budget("size=1KiB")], Figures(size_kib=value), None, target=TARGET)
    assert outcome.reason == f"over the limit by {said}"


def test_a_drop_on_the_limit_passes_in_spite_of_binary_fractions() -> None:
    assert 0.93 - 0.92 > 0.01
    [outcome] = judge([parse_budget("drop=1%")], Figures(score=score(0.92)), Figures(score=score(0.93)), target=TARGET)
    assert outcome.verdict == "pass"


def test_a_drop_has_the_interval_of_the_pairs_or_none() -> None:
    teacher = Figures(score=score(0.93, half=0.01))
    alone = score_drop(teacher, Figures(score=score(0.90, half=0.02)))
    assert alone is not None and alone.value == pytest.approx(0.03)
    assert (alone.low, alone.high, alone.unit, alone.word) == (None, None, "fraction", "measured")
    paired = score(0.03, half=0.004)
    assert score_drop(teacher, Figures(score=score(0.90, half=0.02), drop=paired)) == paired
    assert score_drop(Figures(score=score(0.9)), Figures()) is None
    assert score_drop(None, Figures(score=score(0.9))) is None


@pytest.mark.parametrize(
    ("value", "half", "expected", "said"),
    [
        (0.008, 0.001, "pass", ""),
        (0.008, 0.004, "pass", "by its value; the interval reaches over the limit"),
        (0.012, 0.004, "missed", "over the limit by 0.2 points, by its value; the interval reaches below the limit"),
        (0.012, 0.001, "missed", "over the limit by 0.2 points"),
    ],
)
def test_the_value_decides_a_drop_and_its_interval_is_said(value: float, half: float, expected: str, said: str) -> None:
    [outcome] = judge([parse_budget("drop=1%")], Figures(drop=score(value, half=half)), None, target=TARGET)
    assert (outcome.verdict, outcome.reason) == (expected, said)


def test_an_estimate_that_may_not_decide_names_the_option_that_lets_it() -> None:
    estimate = Figures(latency_p95_ms=number(10.0, 9.0, 11.0, word="estimated"))
    [outcome] = judge([parse_budget("latency=30ms")], estimate, None, target=TARGET)
    assert outcome.verdict == "inconclusive"
    assert "--allow-estimate" in outcome.reason


def test_the_worst_outcome_decides_and_warnings_do_not() -> None:
    def outcome(found: Verdict, severity: str) -> BudgetOutcome:
        return BudgetOutcome.model_validate(
            {"metric": "size", "limit": 1.0, "unit": "KiB", "severity": severity, "verdict": found}
        )

    rank: dict[Verdict, int] = {"pass": 0, "inconclusive": 1, "missed": 2}
    assert verdict([]) == "pass"
    for found in itertools.product(rank, repeat=3):
        assert verdict([outcome(f, "error") for f in found]) == max(found, key=lambda f: rank[f])
        assert verdict([outcome(f, "warn") for f in found]) == "pass"
    assert verdict([outcome("missed", "warn"), outcome("inconclusive", "error")]) == "inconclusive"
