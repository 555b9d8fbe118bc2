import re
import runpy
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from edgekd.figures import Number
from edgekd.judgement import Comparison, Judgement
from edgekd.rendering.html import render_html
from edgekd.rendering.judgement import inherited, judged, judgement_tables
from edgekd.rendering.judgement_plots import judgement_plots
from edgekd.rendering.markdown import render_markdown
from edgekd.rendering.svg.differences import Difference, difference_of, differences
from edgekd.rendering.svg.strips import Strip, strips
from edgekd.results import Report

sample = runpy.run_path(str(Path(__file__).parent / "sample_report.py"))


def report() -> Report:
    built: Report = sample["sample_report"]()
    return built


def found() -> Judgement:
    judgement = report().judgement
    assert judgement is not None
    return judgement


def changed(**parts: object) -> Report:
    return report().model_copy(update={"judgement": found().model_copy(update=parts)})


def points(value: float, low: float | None, high: float | None) -> Number:
    return Number(value=value, low=low, high=high, unit="fraction", word="measured", place="host", n=5)


@pytest.mark.parametrize(
    ("gain", "says"),
    [
        (points(0.0087, 0.0031, 0.0142), "Over 5 seeds, the teacher helped: +0.87 points (+0.31 to +1.42)"),
        (points(-0.0087, -0.0142, -0.0031), "Over 5 seeds, the teacher did harm: -0.87 points (-1.42 to -0.31)"),
        (points(0.001, -0.002, 0.004), "Over 5 seeds, it is open whether the teacher helped: +0.10 points"),
        (points(0.001, None, None), "the student scored +0.10 points against itself trained alone, with no interval"),
    ],
)
def test_the_sentence_says_no_more_than_the_interval(gain: Number, says: str) -> None:
    built = changed(gain_over_seeds=gain)
    assert says in judged(built)
    assert says in render_markdown(built) and says in render_html(built)


def test_one_seed_is_called_one_seed() -> None:
    one = changed(seeds=found().seeds[:1], seed_scores={}, gain_over_seeds=None, gap_recovered=None)
    assert judged(one).startswith("With one seed, the teacher helped: +0.87 points")
    assert judged(one).endswith("another seed may give another answer.")
    assert "Gain by seed" not in [plot.title for plot in judgement_plots(one)]


def test_folds_speak_where_there_are_no_seeds() -> None:
    folds = changed(seeds=(), gain_over_seeds=None)
    assert judged(folds).startswith("Over 3 folds, it is open whether the teacher helped: +0.77 points")


def test_inherited_mistakes_are_claimed_beyond_the_interval_only() -> None:
    def said(low: float, high: float) -> str:
        excess = points((low + high) / 2, low, high)
        return inherited(changed(comparison=Comparison(inherited_excess=excess)))

    assert said(0.05, 0.15).startswith("The student inherited mistakes: ")
    assert "is +10.00 points (+5.00 to +15.00) against the student alone" in said(0.05, 0.15)
    assert said(-0.15, -0.05).startswith("The student inherited no mistakes: ")
    assert said(-0.05, 0.15).startswith("Whether the student inherited mistakes is open: ")
    assert inherited(changed(comparison=None)) == ""


def test_both_faces_hold_every_figure_of_the_tables() -> None:
    markdown, page = render_markdown(report()), render_html(report())
    text = " ".join(re.sub("<[^>]*>", " ", page).split()).replace("\u202f", " ")
    assert "| 3 standardised_logits | 92.81 % [92.38, 93.24] measured on host | 0.71 points [0.49, 0.93]" in markdown
    assert "3 standardised_logits 92.81 % [92.38, 93.24] ● measured on host 0.71 points [0.49, 0.93]" in text
    assert "| mean of 5 | 93.39 % [92.98, 93.80] measured on host | 92.12 % [91.96, 92.29]" in markdown
    assert "| 7 hints | \u2013 | \u2013 | \u2013 | \u2013 | diverged three times at step 412 |" in markdown
    assert "0.118 nats [0.110, 0.126]" in markdown and "0.118 nats [0.110, 0.126]" in text
    assert "layer3 ~ layer3 0.803 0.934" in text


def test_empty_parts_are_left_out() -> None:
    assert len(judgement_tables(report())) == 5 and len(judgement_plots(report())) == 6
    empty = report().model_copy(update={"judgement": Judgement()})
    for built in (empty, report().model_copy(update={"judgement": None})):
        assert judgement_tables(built) == () and judgement_plots(built) == []
        assert "What the teacher was worth" not in render_markdown(built)
        assert 'id="teacher"' not in render_html(built) and "#teacher" not in render_html(built)
    only = report().model_copy(update={"judgement": Judgement(ablation=found().ablation)})
    assert [table.title for table in judgement_tables(only)] == ["Ways to teach"]
    assert [plot.title for plot in judgement_plots(only)] == ["Gain by way to teach", "Score against training time"]


def test_of_many_classes_the_most_changed_are_drawn_best_first() -> None:
    gains = {f"c{i}": points((i - 20) / 1000, (i - 20) / 1000 - 0.01, (i - 20) / 1000 + 0.01) for i in range(41)}
    forty = {name: gain for name, gain in gains.items() if name != "c0"}

    def drawn(class_gains: dict[str, Number]) -> tuple[list[str], str]:
        plots = judgement_plots(changed(comparison=Comparison(class_gains=class_gains)))
        plot = next(plot for plot in plots if plot.title == "Gain by class")
        return texts(plot.drawing, "name"), plot.caption

    names, caption = drawn(forty)
    assert names == [f"c{i}" for i in range(40, 0, -1)]
    assert "Of 40 classes about 4 would seem sure by chance alone." in caption
    names, caption = drawn(gains)
    assert names == [f"c{i}" for i in (*range(40, 30, -1), *range(9, -1, -1))]
    assert caption.endswith("Shown are the 20 of 41 classes that changed most.")


def texts(drawing: Markup, style: str) -> list[str]:
    root = ElementTree.fromstring(str(drawing))
    return [e.text or "" for e in root.iter("text") if style in (e.get("class") or "").split()]


def test_bars_start_at_zero_and_pale_where_chance_will_do() -> None:
    rows = [
        Difference("up", 2.0, 1.0, 3.0),
        Difference("down", -1.0, -2.0, -0.5),
        Difference("maybe", 0.5, -0.5, 1.5),
        difference_of("unknown", points(0.01, None, None), total=True),
    ]
    root = ElementTree.fromstring(str(differences("t", rows, label="gain (points)")))
    zero = next(float(e.get("x1", "")) for e in root.iter("line") if e.get("class") == "zero")
    bars = [(float(e.get("x", "")), float(e.get("width", "")), e.get("class")) for e in root.iter("rect")]
    assert [style for _, _, style in bars] == [
        "bar gain measured",
        "bar loss measured",
        "bar gain unsure measured",
        "bar gain unsure measured",
    ]
    assert bars[0][0] == zero == bars[2][0]
    assert bars[1][0] + bars[1][1] == pytest.approx(zero, abs=0.11)
    assert bars[0][1] == pytest.approx(2 * bars[1][1], abs=0.2) and bars[3][1] == pytest.approx(bars[1][1], abs=0.2)
    assert len([e for e in root.iter("line") if "whisker" in (e.get("class") or "")]) == 3
    assert "down -1.00 [-2.00, -0.50]" in (root.findtext("desc") or "")


def test_a_strip_has_a_ring_for_each_score_and_a_tick_at_the_mean() -> None:
    mean = Number(value=0.92, low=0.91, high=0.93, unit="score", word="measured", place="host", n=2)
    drawn = strips("t", [Strip("student", "student", (0.91, 0.93), mean, "92 %")], label="accuracy (%)")
    root = ElementTree.fromstring(str(drawn))
    rings = [float(e.get("cx", "")) for e in root.iter("circle")]
    tick = next(e for e in root.iter("line") if e.get("class") == "mean student")
    assert float(tick.get("x1", "")) == pytest.approx(sum(rings) / 2, abs=0.11)
    span = next(e for e in root.iter("line") if e.get("class") == "change span student")
    assert [float(span.get(at, "")) for at in ("x1", "x2")] == rings


def test_nothing_to_draw_draws_nothing() -> None:
    assert differences("t", [], label="x (points)") == ""
    assert strips("t", [], label="x (%)") == ""
