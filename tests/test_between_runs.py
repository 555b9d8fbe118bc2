import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from edgekd.between_runs import change_of, compare_runs
from edgekd.figures import Number
from edgekd.past_runs import report_between
from edgekd.rendering.between_runs import between_runs_page
from edgekd.rendering.sections import page_html, page_markdown
from edgekd.results import Report

sample = runpy.run_path(str(Path(__file__).parent / "rendering" / "sample_report.py"))


def number(value: float, half: float | None = 0.0, **changes: Any) -> Number:
    ends = {} if half is None else {"low": value - half, "high": value + half}
    return Number(**{"value": value, **ends, "unit": "KiB", "word": "measured", "place": "file", **changes})


@pytest.mark.parametrize(
    ("what", "before", "after", "outcome"),
    [
        ("size_kib", number(100), number(99), "better"),
        ("size_kib", number(100), number(101), "worse"),
        ("size_kib", number(100), number(100), "same"),
        ("score", number(0.9, 0.01, unit="score"), number(0.95, 0.01, unit="score"), "better"),
        ("score", number(0.9, 0.01, unit="score"), number(0.915, 0.01, unit="score"), "open"),
        ("drop", number(0.01, 0.001, unit="fraction"), number(0.02, 0.001, unit="fraction"), "worse"),
        ("peak_memory_kib", number(100, None), number(50, None), "open"),
        ("cpu_ms", number(10, 0.1, unit="ms", place="host"), number(20, 0.1, unit="ms", place="host"), "open"),
        (
            "latency_p95_ms",
            number(9, 1, unit="ms", word="estimated"),
            number(5, 1, unit="ms", word="estimated"),
            "better",
        ),
        ("latency_p95_ms", number(9, 1, unit="ms", word="estimated"), number(5, 1, unit="ms"), "not comparable"),
        ("latency_p95_ms", number(9, 1, place="a"), number(5, 1, place="b"), "not comparable"),
        ("score", None, number(0.9), "not comparable"),
    ],
)
def test_no_figure_is_called_better_or_worse_that_may_not_be(
    what: str, before: Number | None, after: Number, outcome: str
) -> None:
    assert change_of(what, before, after).outcome == outcome


def changed(**changes: Any) -> Report:
    report: Report = sample["sample_report"](**changes)
    return report


def test_two_equal_runs_have_nothing_changed() -> None:
    found = compare_runs(changed(), changed(), names=("a", "b"))
    assert {change.outcome for change in found.figures} == {"same"}
    assert (found.caveats, found.classes, found.operators, found.recipe, found.environment) == ((), (), (), (), ())


def test_what_was_set_otherwise_and_what_it_changed() -> None:
    before = changed()
    models = {**before.models, "shipped": before.models["shipped"].model_copy(update={"size_kib": 200.0})}
    per_class = before.per_class | {"cat": {"teacher": 0.9, "shipped": 0.5}}
    after = changed(
        models=models,
        per_class=per_class,
        latency_by_operator={"QLinearConv": 10.0},
        recipe={"student": "auto", "keep_macs": 0.4, "loss": "kl"},
        environment={**before.environment, "python": "3.13.0", "load": 9.0},
    )
    found = compare_runs(before, after, names=("a", "b"))
    assert next(c.outcome for c in found.figures if c.what == "size_kib") == "better"
    assert found.classes[0].name == "cat" and found.classes[0].after == 0.5 and len(found.classes) == 1
    assert found.operators[0].name == "QLinearConv"
    assert {one.name: (one.before, one.after) for one in found.recipe} == {
        "keep_macs": ("0.5", "0.4"),
        "loss": (None, "kl"),
    }
    assert [one.name for one in found.environment] == ["python"]


def test_other_data_other_machines_and_other_devices_are_not_compared() -> None:
    other = changed(splits={"fingerprint": "x"}, environment={"cpu": "another"}, target="jetson-nano", edgekd="9.9")
    found = compare_runs(changed(), other, names=("a", "b"))
    outcomes = {change.what: change.outcome for change in found.figures}
    assert outcomes["score"] == outcomes["cpu_ms"] == "not comparable" and outcomes["size_kib"] == "same"
    assert len(found.caveats) == 4
    assert "raspberry-pi-4 and jetson-nano" in " ".join(found.caveats)


def test_the_page_says_all_of_it_and_escapes_hostile_names() -> None:
    found = compare_runs(changed(), sample["hostile_report"](), names=("a", sample["HOSTILE"]))
    page, text = page_html(between_runs_page(found)), page_markdown(between_runs_page(found))
    assert "&lt;script&gt;alert" in page and page.count("<script>") == 1
    assert "<script>" not in text and "\x1b" not in text
    assert "A" * 600 not in page + text
    assert "# " in text and "| Before | After |" in text


def test_it_is_written_beside_the_later_run(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "report").mkdir(parents=True)
        (tmp_path / name / "report" / "results.json").write_text(changed().model_dump_json(by_alias=True))
    found = report_between(tmp_path / "one", tmp_path / "two" / "report" / "results.json")
    written = {path.name for path in (tmp_path / "two" / "report").iterdir()}
    assert written == {"results.json", "between_runs.html", "between_runs.md", "between_runs.json"}
    stored = json.loads((tmp_path / "two" / "report" / "between_runs.json").read_text())
    assert stored == found.model_dump(mode="json", by_alias=True)
    report_between(tmp_path / "one", tmp_path / "two", out=tmp_path / "else")
    assert (tmp_path / "else" / "between_runs.html").is_file()


def test_a_limit_that_fails_and_one_that_warns_stand_side_by_side() -> None:
    after = changed()
    first = after.budgets[0]
    stricter = first.model_copy(update={"limit": first.limit / 2, "severity": "warn"})
    found = compare_runs(
        changed(), after.model_copy(update={"budgets": (*after.budgets, stricter)}), names=("a", "b")
    ).budgets
    of_metric = [one for one in found if one.metric == first.metric]
    assert [(one.severity, one.before, one.after) for one in of_metric] == [
        ("error", first, first),
        ("warn", None, stricter),
    ]
