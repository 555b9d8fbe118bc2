import runpy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from edgekd.figures import Number
from edgekd.quantization import NodeSignal
from edgekd.rendering.class_plots import confusion_plot
from edgekd.rendering.outline import confusion_counts
from edgekd.rendering.plots import waterfall_plots
from edgekd.rendering.svg.course import Course, latency_course
from edgekd.rendering.svg.devices import Device, devices_side_by_side, log_ticks
from edgekd.rendering.svg.noise import noise_by_layer
from edgekd.rendering.time_plots import course_plot, devices_plot
from edgekd.results import ConfusedPair, Confusion

sample = runpy.run_path(str(Path(__file__).parent / "sample_report.py"))


def elements(drawing: str, name: str, style: str) -> list[ElementTree.Element]:
    found = ElementTree.fromstring(str(drawing)).iter(name)
    return [element for element in found if style in (element.get("class") or "").split()]


def rows(drawing: str) -> dict[str, str]:
    """Name of each bar to what is written beside it."""
    names, values = ([e.text or "" for e in elements(drawing, "text", style)] for style in ("name", "value"))
    return dict(zip(names, values, strict=True))


def test_the_waterfall_adds_up() -> None:
    size, latency = waterfall_plots(sample["sample_report"]())
    assert rows(size.drawing) == {
        "Teacher": "3.27 MiB",
        "smaller student": "\u22122.43 MiB, \u221274 %",
        "int8_static": "\u2212600 KiB, \u221270 %",
        "Shipped": "261 KiB",
    }
    whole, student, scheme, shipped = ElementTree.fromstring(str(size.drawing)).iter("rect")
    ends = [(float(bar.get("x", 0)), float(bar.get("x", 0)) + float(bar.get("width", 0))) for bar in (student, scheme)]
    assert float(whole.get("width", 0)) + 4 == pytest.approx(ends[0][1], abs=0.2)  # a step begins where the last ended
    assert ends[0][0] == pytest.approx(ends[1][1], abs=0.2)
    assert ends[1][0] == pytest.approx(float(shipped.get("width", 0)) + 4, abs=0.2)
    assert rows(latency.drawing)["int8_static"] == "\u221218.6 ms, \u221249 %"


def test_what_costs_more_is_a_loss_and_unlike_figures_are_not_subtracted() -> None:
    built = sample["sample_report"]()
    larger = built.models["shipped"].model_copy(update={"size_kib": 1000.0})
    [size, _] = waterfall_plots(built.model_copy(update={"models": {**built.models, "shipped": larger}}))
    assert rows(size.drawing)["int8_static"] == "+139 KiB, +16 %"
    assert len(elements(size.drawing, "rect", "loss")) == 1
    measured = built.models["shipped"].latency_p95_ms.model_copy(update={"word": "measured"})
    mixed = built.models["shipped"].model_copy(update={"latency_p95_ms": measured})
    [_, latency] = waterfall_plots(built.model_copy(update={"models": {**built.models, "shipped": mixed}}))
    assert list(rows(latency.drawing)) == ["Teacher", "Distilled student", "Shipped"]


def course(samples: list[float], runs: int, *conditions: dict[str, float]) -> Course:
    return Course(tuple(samples), runs, conditions, "host")


def test_a_course_knows_when_its_samples_and_conditions_were_taken() -> None:
    every_third = course([100.0] * 10, 30, {}, {}, {"throttled": 0x50004}, {"throttled": 0x50000})
    assert every_third.seconds[-1] == pytest.approx(3.0)
    assert every_third.moments(4) == pytest.approx([0.0, 1.0, 2.0, 3.0])
    assert every_third.throttled == ((1.0, pytest.approx(2.0)),)  # bits of the past do not count
    assert course([100.0] * 5, 5, {}, {}, {}).moments(3) == pytest.approx([0.0, 0.5, 0.5])


def test_clock_and_temperature_are_drawn_where_they_can_be_read() -> None:
    hot = [{"clock_mhz": 1800.0, "temperature_c": 50.0}, {"clock_mhz": 1500.0, "temperature_c": 80.0, "throttled": 4.0}]
    drawn = latency_course(course([10.0] * 200, 200, *hot))
    assert [e.text for e in elements(drawn, "text", "name")] == ["highest clock (MHz)", "highest temperature (°C)"]
    assert {"1,800", "1,500", "80", "50"} <= {e.text for e in elements(drawn, "text", "tick")}
    assert len(elements(drawn, "rect", "throttled")) == 1
    bare = latency_course(course([10.0] * 200, 200, {"load": 1.0}, {"load": 1.0}))
    assert elements(bare, "text", "name") == [] and elements(bare, "rect", "throttled") == []
    assert latency_course(course([10.0] * 9, 9)) == ""


@pytest.mark.parametrize("conditions", [None, "hot", [None, 3, {"temperature_c": "hot"}, {"clock_mhz": float("nan")}]])
def test_conditions_that_are_none_are_not_drawn(conditions: Any) -> None:
    built = sample["sample_report"]()
    shipped = built.models["shipped"]
    host = shipped.host.model_copy(update={"environment": {"conditions": conditions, "runs": None}})
    models = {**built.models, "shipped": shipped.model_copy(update={"host": host})}
    plot = course_plot(built.model_copy(update={"models": models}))
    assert plot is not None and "Neither clock nor temperature can be read" in plot.caption


def test_ticks_of_a_logarithmic_axis_are_round_and_few() -> None:
    assert log_ticks(0.9, 21.0) == pytest.approx([1, 2, 5, 10, 20])
    assert log_ticks(1.0, 1000.0) == pytest.approx([1, 10, 100, 1000])
    assert 1 <= len(log_ticks(2.1, 2.4)) <= 5
    assert len(log_ticks(1e-4, 1e6)) <= 5


def test_devices_stand_in_the_order_of_speed_at_their_decades() -> None:
    known = [("slow", 100.0), ("fast", 1.0), ("target", 10.0)]
    numbers = [(name, Number(value=ms, unit="ms", word="estimated", place=name)) for name, ms in known]
    drawn = devices_side_by_side([Device(name, number, name == "target") for name, number in numbers], budget=10.0)
    assert [e.text for e in elements(drawn, "text", "point-name")] == ["fast", "target", "slow"]
    at = [float(e.get("cx", 0)) for e in elements(drawn, "circle", "marker")]
    assert at[1] - at[0] == pytest.approx(at[2] - at[1], abs=0.2)
    [budget] = elements(drawn, "line", "budget")
    assert float(budget.get("x1", 0)) == pytest.approx(at[1], abs=0.1)
    assert "shipped" in (elements(drawn, "text", "point-name")[1].get("class") or "")


def test_a_device_that_cannot_be_estimated_is_counted() -> None:
    plot = devices_plot(sample["sample_report"]())
    assert plot is not None and "Cannot be estimated: 1 of 4." in plot.caption and "30.0 ms" in plot.caption
    assert devices_plot(sample["sample_report"](devices=())) is None


def test_the_worst_layers_are_numbered_from_the_worst() -> None:
    layers = [NodeSignal(node=f"n{i}", operator="Conv", sqnr_db=db) for i, db in enumerate((40.0, 10.0, 30.0, 20.0))]
    worst = sorted(layers, key=lambda one: one.sqnr_db)[:2]
    drawn = noise_by_layer(layers, worst=worst, left_float=["n2"])
    dots = [float(e.get("cx", 0)) for e in ElementTree.fromstring(str(drawn)).iter("circle")]
    assert len(dots) == 4 and dots == sorted(dots)
    ranks = {e.text: float(e.get("x", 0)) for e in elements(drawn, "text", "point-name")}
    assert ranks == {"1": pytest.approx(dots[1]), "2": pytest.approx(dots[3])}
    assert len(elements(drawn, "circle", "ring")) == 1


def test_a_matrix_of_confusion_counts_every_sample() -> None:
    pairs = (ConfusedPair(truth="a", answer="b", shipped=3), ConfusedPair(truth="a", answer="c", shipped=2))
    found = confusion_counts(Confusion(samples={"a": 10, "b": 4}, pairs=pairs))
    assert found == (("a", "b", "c"), [[5, 3, 2], [0, 4, 0], [0, 0, 0]])
    many = {f"c{i}": 10 for i in range(21)}
    assert confusion_counts(Confusion(samples=many, pairs=())) is None


def test_of_many_classes_the_most_frequent_mistakes_are_shown() -> None:
    samples = {f"c{i}": 50 for i in range(30)}
    pairs = tuple(ConfusedPair(truth=f"c{i}", answer="c29", shipped=25 - i, teacher=i) for i in range(20))
    plot = confusion_plot(sample["sample_report"](confusion=Confusion(samples=samples, pairs=pairs)))
    assert plot is not None
    shown = rows(plot.drawing)
    assert len(shown) == 15 and shown["c0 for c29"] == "25 of 50, teacher 0"
    assert "most of all takes c0 for c29: 25 times, the teacher 0" in plot.caption
    by_chance = confusion_plot(sample["sample_report"]())  # 14 against 9 of a thousand
    assert by_chance is not None and "Against the teacher" not in by_chance.caption
