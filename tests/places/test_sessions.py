"""Which session is taken, by invented peaks and costs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from edgekd.errors import EdgekdError
from edgekd.figures import Number
from edgekd.places.sessions import PROCESSES, Entry, fastest_threads, lightest

MODEL, ORT = Path("model.onnx"), Path("model.ort")
USUAL = Entry(MODEL)
NO_ARENA, NO_PREPACKING, OWN = Entry(MODEL, {"arena": False}), Entry(MODEL, {"prepacking": False}), Entry(ORT)
MENU = (NO_ARENA, NO_PREPACKING, OWN)


def ratio(low: float, high: float) -> Number:
    return Number(value=(low + high) / 2, low=low, high=high, level=0.99, unit="x", word="measured", place="host")


def key(entry: Entry) -> str:
    return next(iter(entry.options), entry.file.name)


def settle(
    peaks: Mapping[str, Sequence[float]], costs: Mapping[str, Number]
) -> tuple[Entry, dict[str, Any], list[str]]:
    """`peaks` are what fresh processes take, one after another; the last stays. Entries without any fail."""
    asked: list[str] = []
    left = {name: list(values) for name, values in peaks.items()}

    def weigh(entry: Entry) -> float:
        asked.append(key(entry))
        if not left.get(key(entry)):
            raise EdgekdError(f"{entry.file.absolute()}: the benchmark process died (SIGSEGV)")
        values = left[key(entry)]
        return values.pop(0) if len(values) > 1 else values[0]

    def cost(usual: Entry, other: Entry) -> Number:
        assert usual == USUAL
        asked.append(f"cost of {key(other)}")
        return costs[key(other)]

    taken, trials = lightest(USUAL, MENU, weigh, cost)
    assert len(trials) == 1 + len(MENU) and sum(trial.taken for trial in trials) == 1
    named = zip(("model.onnx", "arena", "prepacking", "model.ort"), trials, strict=True)
    return taken, dict(named), asked


def test_the_lightest_that_is_not_slower_is_taken() -> None:
    peaks = {"model.onnx": [100.0], "arena": [90.0], "prepacking": [80.0], "model.ort": [70.0]}
    costs = {"model.ort": ratio(0.99, 1.03), "prepacking": ratio(0.97, 1.02), "arena": ratio(0.9, 0.95)}
    taken, trials, asked = settle(peaks, costs)
    assert taken == NO_PREPACKING
    assert trials["model.ort"].reason == "may be slower by more than 2 %"
    assert trials["model.ort"].session == {"file": "model.ort"} and trials["model.ort"].cost == costs["model.ort"]
    assert trials["arena"].reason == "takes no less memory than the one taken"
    assert asked[-2:] == ["cost of model.ort", "cost of prepacking"]  # the arena was not even timed
    assert trials["prepacking"].peak_memory_kib is not None and trials["prepacking"].peak_memory_kib.n == PROCESSES


def test_what_is_no_lighter_is_weighed_once_and_not_timed() -> None:
    peaks = {"model.onnx": [100.0], "arena": [98.5], "prepacking": [130.0], "model.ort": [100.0]}
    taken, trials, asked = settle(peaks, {})
    assert taken == USUAL
    assert asked == ["model.onnx"] * PROCESSES + ["arena", "prepacking", "model.ort"]
    assert trials["model.onnx"].reason == "none takes less memory and is not slower"
    assert trials["arena"].reason == "takes no less memory than the usual one"


def test_a_lucky_process_does_not_make_a_session_light() -> None:
    peaks = {"model.onnx": [100.0], "arena": [90.0, 99.0, 90.0], "prepacking": [101.0], "model.ort": [101.0]}
    assert settle(peaks, {})[0] == USUAL
    unlucky = {**peaks, "model.onnx": [100.0, 91.0, 100.0], "arena": [90.0]}
    assert settle(unlucky, {})[0] == USUAL


def test_of_sessions_alike_the_first_in_the_menu_is_timed_first() -> None:
    peaks = {"model.onnx": [100.0], "arena": [95.0], "prepacking": [81.0], "model.ort": [80.0]}
    same = dict.fromkeys(("arena", "prepacking", "model.ort"), ratio(0.99, 1.01))
    assert settle(peaks, same)[0] == NO_PREPACKING


def test_an_option_that_kills_the_process_is_out_with_the_reason() -> None:
    peaks = {"model.onnx": [100.0], "arena": [90.0], "prepacking": [101.0]}
    taken, trials, _ = settle(peaks, {"arena": ratio(0.99, 1.01)})
    assert taken == NO_ARENA
    assert trials["model.ort"].reason == "the benchmark process died (SIGSEGV)"
    assert trials["model.ort"].peak_memory_kib is None


@pytest.mark.parametrize(
    ("most", "faster", "used", "tried"),
    [
        (1, {}, 1, []),
        (2, {2: True}, 2, [2]),
        (2, {2: False}, 1, [2]),
        (6, {2: True, 4: True, 6: False}, 4, [2, 4, 6]),
        (8, {2: True, 4: False}, 2, [2, 4]),
    ],
)
def test_threads_are_doubled_while_that_is_surely_faster(most, faster, used, tried) -> None:
    def cost(before: Entry, after: Entry) -> Number:
        assert before.options["arena"] is False and before.options["threads"] < after.options["threads"]
        return ratio(0.6, 0.99) if faster[after.options["threads"]] else ratio(0.6, 1.0)

    found, trials = fastest_threads(NO_ARENA, most, cost)
    assert found == used
    assert [trial.session["threads"] for trial in trials] == tried
    assert [trial.session["threads"] for trial in trials if trial.taken] == [used] * (used > 1)
