import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.budget import CANONICAL_UNITS, parse_budget
from edgekd.figures import Number, Word
from edgekd.rendering.text import axis_unit, clean, count, interval, limit, quantity, spoken, spoken_actual, titled
from edgekd.results import BudgetOutcome


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (27.43, "ms", "27.4 ms"),
        (2.0, "ms", "2.00 ms"),
        (0.0614, "ms", "61.4 µs"),
        (1711.0, "ms", "1.71 s"),
        (123.4, "ms", "123 ms"),
        (0.0, "ms", "0 ms"),
        (-0.5, "ms", "-500 µs"),
        (861.0, "KiB", "861 KiB"),
        (3347.0, "KiB", "3.27 MiB"),
        (2.5 * 1024**2, "KiB", "2.50 GiB"),
        (0.9339, "score", "93.39 %"),
        (0.0051, "fraction", "0.51 points"),
        (0.5537, "share", "55.4 %"),
        (0.0, "share", "0 %"),
        (24.81, "dB", "24.8 dB"),
        (0.52, "1", "0.520"),
        (None, "ms", "\u2013"),
    ],
)
def test_figures_have_three_digits_and_the_unit_that_suits_them(value: float | None, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_not_a_number_is_written_and_not_scaled() -> None:
    assert quantity(float("nan"), "ms") == "nan ms"
    assert quantity(float("inf"), "KiB") == "inf KiB"


@pytest.mark.parametrize(
    ("value", "text"), [(125_750_000, "126 M"), (853_018, "853 k"), (12, "12"), (1.5, "1.50"), (2e9, "2.00 G")]
)
def test_counts(value: float, text: str) -> None:
    assert count(value) == text


def number(word: Word, place: str, low: float | None = 27.1, high: float | None = 27.7) -> Number:
    return Number(value=27.4, low=low, high=high, unit="ms", word=word, place=place)


def test_a_figure_is_spoken_with_interval_word_and_place() -> None:
    assert spoken(number("measured", "host")) == "27.4 ms [27.1, 27.7] measured on host"
    assert spoken(number("estimated", "pi")) == "27.4 ms [27.1, 27.7] estimated for pi"
    assert spoken(number("emulated", "emulate:cortex-a76", None)) == "27.4 ms emulated on emulate:cortex-a76"
    assert spoken(None) == "\u2013"


def test_bounds_use_the_unit_and_digits_of_the_value() -> None:
    assert interval(Number(value=1500, low=900, high=2100, unit="KiB", word="measured", place="host")) == "[0.88, 2.05]"
    assert interval(number("measured", "host", 27.4, 27.4)) == ""


def test_limits_are_written_as_they_were_typed() -> None:
    def outcome(value: float, unit: str) -> BudgetOutcome:
        return BudgetOutcome(metric="x", limit=value, unit=unit, verdict="pass")

    assert limit(outcome(30.0, "ms")) == "at most 30 ms"
    assert limit(outcome(0.01, "fraction")) == "at most 1 point"
    assert limit(outcome(0.015, "fraction")) == "at most 1.5 points"
    assert limit(outcome(65536.0, "KiB")) == "at most 64 MiB"


def held_against(budget: str, value: float, *, half: float = 0.0) -> str:
    asked = parse_budget(budget)
    unit = CANONICAL_UNITS[asked.metric]
    figure = Number(value=value, low=value - half, high=value + half, unit=unit, word="measured", place="file")
    outcome = BudgetOutcome(**asked.model_dump(exclude={"target"}), unit=unit, actual=figure, verdict="pass")
    return f"{limit(outcome)}: {spoken_actual(outcome)}"


def test_a_budget_is_shown_in_the_unit_it_was_given_in() -> None:
    assert held_against("size=500KB", 400.0) == "at most 500 KB: 410 KB measured"  # 400 x 1.024
    assert held_against("size=1MiB", 193.2) == "at most 1 MiB: 193 KiB measured"
    assert held_against("latency=0.03s", 25.0) == "at most 0.03 s: 25.0 ms measured"
    assert held_against("memory=50MB", 40_000.0, half=1000.0) == "at most 50 MB: 41.0 MB [39.9, 42.0] measured"


def test_a_figure_has_the_digits_that_tell_it_from_its_limit() -> None:
    assert held_against("size=150KiB", 150.4) == "at most 150 KiB: 150.4 KiB measured"
    assert held_against("size=150KiB", 149.96) == "at most 150 KiB: 150 KiB measured"
    assert held_against("drop=1%", 0.010001) == "at most 1 point: 1.0001 points measured"


def test_a_level_is_given_where_it_is_not_the_usual_one() -> None:
    sure = number("measured", "host", 27.1, 27.7)
    assert interval(sure) == "[27.1, 27.7]"
    assert interval(sure.model_copy(update={"level": 0.99})) == "[27.1, 27.7] at 99 %"


def test_an_axis_takes_the_unit_of_its_end() -> None:
    assert axis_unit(3347.0, "KiB") == (1024.0, "MiB")


@given(st.text(st.characters(exclude_categories=[]), max_size=400))
def test_cleaned_text_is_one_short_printable_line(text: str) -> None:
    shown = clean(text)
    assert len(shown) <= 80
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
    shown.encode()


def test_cleaning_keeps_what_is_harmless_and_marks_what_is_cut() -> None:
    assert clean("blüte 花 2.5%") == "blüte 花 2.5%"
    assert clean("a\x1b[31m\u202eb") == "a\ufffd[31m\ufffdb"
    assert clean("  a\n\tb ") == "a b"
    assert clean("A" * 10_000) == "A" * 79 + "…"
    assert clean("A" * 80) == "A" * 80


def test_a_title_keeps_the_capitals_of_a_name() -> None:
    found = [titled(name) for name in ("accuracy", "average precision", "mAP50", "R2")]
    assert found == ["Accuracy", "Average precision", "mAP50", "R2"]
