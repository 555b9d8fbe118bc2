import re
import runpy
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from edgekd.figures import Number, Word
from edgekd.rendering import plots, time_plots
from edgekd.rendering.class_plots import class_plot, confusion_plot
from edgekd.rendering.judgement_plots import judgement_plots
from edgekd.rendering.outline import most_changed, recalls
from edgekd.rendering.quantization_plots import noise_plot
from edgekd.rendering.svg.bars import Bar, bars
from edgekd.rendering.svg.curves import training_curves
from edgekd.rendering.svg.drawing import Scale, fit, span, tag, text_width, ticks
from edgekd.rendering.svg.histogram import latency_histogram
from edgekd.rendering.svg.meter import budget_meter
from edgekd.rendering.svg.pareto import Point, pareto, pareto_front
from edgekd.rendering.svg.recall import recall_by_class
from edgekd.results import BudgetOutcome, Curve, Report

sample = runpy.run_path(str(Path(__file__).parent / "sample_report.py"))


def all_plots(report: Report) -> list[plots.Plot]:
    made = [
        *plots.waterfall_plots(report),
        plots.pareto_plot(report),
        plots.training_plot(report),
        class_plot(report),
        confusion_plot(report),
        noise_plot(report),
        *time_plots.resource_plots(report),
        time_plots.devices_plot(report),
        *judgement_plots(report),
    ]
    return [plot for plot in made if plot is not None]


def texts(drawing: Markup, style: str) -> list[str]:
    root = ElementTree.fromstring(str(drawing))
    return [e.text or "" for e in root.iter() if style in (e.get("class") or "").split()]


@pytest.mark.parametrize("build", ["sample_report", "hostile_report"])
def test_every_plot_is_well_formed_and_its_axes_have_units(build: str) -> None:
    drawn = all_plots(sample[build]())
    assert len(drawn) == 18
    for plot in drawn:
        root = ElementTree.fromstring(str(plot.drawing))
        assert root.get("viewBox")
        assert root.findtext("title") and root.findtext("desc")
        labels = texts(plot.drawing, "label")
        assert labels
        for label in labels:
            assert re.search(r"\((?:ms|s|%|dB|KiB|MiB|steps|count|points)\)$", label), label
        assert len(texts(plot.drawing, "tick")) >= 3 or plot.title == "Confusion"
        assert all(len(e.text or "") < 120 for e in root.iter("text"))


def test_a_report_without_data_has_no_empty_plots() -> None:
    bare = sample["sample_report"]().model_copy(
        update={
            "models": {"teacher": None, "control": None, "student": None, "shipped": None},
            "candidates": (),
            "distillation": None,
            "judgement": None,
            "per_class": {},
            "latency_by_operator": {},
            "files": (),
            "confusion": None,
            "devices": (),
        }
    )
    assert all_plots(bare) == []


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_round_and_inside(low: float, width: float) -> None:
    high = low + width
    if high - low < abs(low) * 1e-9:
        return
    marks = ticks(low, high)
    assert 2 <= len(marks) <= 8
    assert all(low - width * 1e-6 <= mark <= high + width * 1e-6 for mark in marks)
    step = marks[1] - marks[0]
    assert f"{step:.0e}"[0] in "125"


def test_ticks_by_hand() -> None:
    assert ticks(0.0, 100.0) == [0, 20, 40, 60, 80, 100]
    assert ticks(92.4, 93.6) == pytest.approx([92.4, 92.6, 92.8, 93.0, 93.2, 93.4, 93.6])


def test_a_scale_is_linear_and_keeps_strays_on_the_page() -> None:
    scale = Scale(10.0, 20.0, 100.0, 0.0)
    assert [scale(v) for v in (10.0, 12.5, 20.0, 99.0, -99.0)] == [100.0, 75.0, 0.0, 0.0, 100.0]
    assert span([5.0, 5.0])[0] < 5.0 < span([5.0, 5.0])[1]


def test_elements_are_escaped() -> None:
    made = tag("text", '<b>"&', x=1.25, class_="a", text_anchor='"><script>')
    assert str(made) == '<text x="1.2" class="a" text-anchor="&#34;&gt;&lt;script&gt;">&lt;b&gt;&#34;&amp;</text>'


@given(st.text(max_size=100), st.floats(20, 300))
def test_names_are_cut_to_the_room_they_have(name: str, width: float) -> None:
    assert text_width(fit(name, width)) <= width
    assert fit("cat", 24.0) == "cat"
    assert fit("automobile", 60.0) == "automo…"


def point(label: str, ms: float, score: float, word: Word = "estimated", kind: str = "plain") -> Point:
    return Point(
        label,
        Number(value=ms, low=ms * 0.7, high=ms * 1.3, unit="ms", word=word, place="pi"),
        Number(value=score, unit="score", word="measured", place="host"),
        kind,
    )


def test_the_front_by_hand() -> None:
    points = [
        point("a", 10, 0.90),
        point("b", 20, 0.92),
        point("c", 15, 0.89),
        point("d", 20, 0.91),
        point("e", 30, 0.92),
    ]
    assert [p.label for p in pareto_front(points, "estimated")] == ["a", "b"]


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=12))
def test_nothing_beats_the_front_and_it_beats_all_else(pairs: list[tuple[int, int]]) -> None:
    points = [point(str(i), float(ms), score / 20) for i, (ms, score) in enumerate(pairs)]
    front = pareto_front(points, "estimated")

    def beats(a: Point, b: Point) -> bool:
        no_worse = a.cost.value <= b.cost.value and a.score.value >= b.score.value
        return no_worse and (a.cost.value, a.score.value) != (b.cost.value, b.score.value)

    assert not any(beats(p, f) for p in points for f in front)
    left = [p for p in points if not any(beats(q, p) for q in points)]
    assert {(p.cost.value, p.score.value) for p in left} == {(f.cost.value, f.score.value) for f in front}


def test_an_estimate_never_shares_a_front_with_a_measurement() -> None:
    points = [
        point("fast guess", 1, 0.99),
        point("1 shipped", 10, 0.9, "measured", "shipped"),
        point("2", 20, 0.95, "measured"),
    ]
    assert [p.label for p in pareto_front(points, "measured")] == ["1 shipped", "2"]
    drawn = pareto(points, cost="latency p95 on pi", score="accuracy")
    root = ElementTree.fromstring(str(drawn))
    assert root.findtext("desc", "").endswith("Nothing beats 1 shipped, 2.")
    styles = [e.get("class") for e in root.iter("circle")]
    assert styles == ["marker plain estimated", "marker shipped measured", "marker plain measured"]
    assert texts(drawn, "x-label") == ["latency p95 on pi, estimated and measured (ms)"]


def test_limits_are_drawn_where_they_are() -> None:
    drawn = pareto([point("1", 10, 0.9)], cost="latency", score="accuracy", budget=20.0, lowest_score=0.88)
    lines = [e for e in ElementTree.fromstring(str(drawn)).iter("line") if e.get("class") == "budget"]
    assert len(lines) == 2
    assert texts(drawn, "budget-name") == ["budget 20 ms", "lowest score allowed"]


@pytest.mark.parametrize("score", [0.88, 0.8805, 0.89, 0.9])
def test_the_front_does_not_run_through_the_name_of_the_limit(score: float) -> None:
    points = [point("1", 10, score), point("2", 9, 0.7)]
    drawn = ElementTree.fromstring(str(pareto(points, cost="latency", score="accuracy", lowest_score=0.88)))
    [name] = [e for e in drawn.iter("text") if e.text == "lowest score allowed"]
    [front] = [e.get("d", "") for e in drawn.iter("path") if e.get("class") == "front"]
    line, baseline = float(re.findall(r"V([\d.]+)", front)[-1]), float(name.get("y", ""))
    assert not baseline - 11 < line < baseline + 2


def test_bars_are_as_long_as_their_values() -> None:
    drawn = bars(
        "t",
        [Bar("a", 50.0, "50", "measured"), Bar("b", 100.0, "100", "estimated", low=80.0, high=120.0)],
        label="x (ms)",
    )
    root = ElementTree.fromstring(str(drawn))
    widths = [float(e.get("width", "0")) for e in root.iter("rect")]
    assert widths[1] == pytest.approx(2 * widths[0], abs=0.2)
    assert [e.get("class") for e in root.iter("rect")] == ["bar plain measured", "bar plain estimated"]
    assert len([e for e in root.iter("line") if e.get("class") == "whisker"]) == 3


def test_every_run_is_in_the_histogram_or_counted_beside_it() -> None:
    samples = [3.0 + 0.001 * i for i in range(990)] + [50.0] * 10
    drawn = latency_histogram(samples, place="host")
    assert "10 slower, up to 50 ms" in texts(drawn, "tick")
    assert "1000 runs" in str(drawn)
    assert "measured on host" in texts(drawn, "x-label")[0]
    same = latency_histogram([2.0] * 50, place="host")
    assert len([e for e in ElementTree.fromstring(str(same)).iter("rect") if e.get("height") != "0"]) == 1


@pytest.mark.parametrize(
    "draw",
    [
        lambda: latency_histogram([], place="host"),
        lambda: latency_histogram([float("nan")], place="host"),
        lambda: training_curves({"student": Curve()}, score="accuracy"),
        lambda: recall_by_class([]),
        lambda: pareto([], cost="latency", score="accuracy"),
    ],
)
def test_nothing_to_draw_draws_nothing(draw: Callable[[], Markup]) -> None:
    assert draw() == ""


def test_the_training_plot_says_what_else_than_the_teacher_differed() -> None:
    report = sample["sample_report"]()
    assert report.distillation is not None
    alike = plots.training_plot(report)
    mixed = plots.training_plot(
        report.model_copy(update={"distillation": report.distillation.model_copy(update={"unlabelled": 1200})})
    )
    assert alike is not None and alike.caption.endswith("only the teacher differs.")
    assert mixed is not None and "the 1,200 samples that have no label" in mixed.caption


def test_curves_of_one_point_and_of_flat_scores_are_drawn() -> None:
    for curve in (
        Curve(steps=(1,), scores=(0.5,)),
        Curve(steps=(1, 2), scores=(1.0, 1.0)),
        Curve(steps=(0,), scores=(0.0,)),
    ):
        ElementTree.fromstring(str(training_curves({"student": curve}, score="accuracy")))


def test_of_many_classes_the_most_changed_are_shown() -> None:
    thirty = {f"c{i}": {"teacher": 0.9, "shipped": 0.9 - i / 1000} for i in range(30)}
    assert len(most_changed(recalls(thirty))) == 30
    many = {f"c{i}": {"teacher": 0.9, "shipped": 0.9 - i / 1000} for i in range(31)} | {
        "up": {"teacher": 0.5, "shipped": 0.9}
    }
    shown = most_changed(recalls(many))
    assert [r.name for r in shown] == [f"c{i}" for i in range(30, 16, -1)] + ["up"]
    plot = class_plot(sample["sample_report"]().model_copy(update={"per_class": many}))
    assert plot is not None and "Shown are the 15 of 32 classes" in plot.caption


def test_a_meter_shows_the_limit_inside_the_track() -> None:
    number = Number(value=0.0, unit="ms", word="measured", place="host")
    drawn = budget_meter(BudgetOutcome(metric="drop", limit=0.0, unit="fraction", actual=number, verdict="pass"))
    ElementTree.fromstring(str(drawn))
    unknown = BudgetOutcome(metric="drop", limit=0.0, unit="fraction", verdict="inconclusive")
    assert budget_meter(unknown) == ""


def test_a_class_without_images_and_a_figure_that_is_no_number_are_left_out() -> None:
    nan = float("nan")
    assert [
        r.name for r in recalls({"a": {"teacher": 1.0, "shipped": nan}, "b": {"teacher": 1.0, "shipped": 0.5}})
    ] == ["b"]
    report: Report = sample["sample_report"]()
    broken = report.candidates[0].latency_p95_ms
    assert broken is not None
    lost = report.candidates[0].model_copy(update={"latency_p95_ms": broken.model_copy(update={"value": nan})})
    plot = plots.pareto_plot(report.model_copy(update={"candidates": (lost, *report.candidates[1:])}))
    assert plot is not None and "2 of 5" in plot.caption and "nan" not in plot.drawing
