import json
import os
import runpy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from edgekd.api import report_history
from edgekd.errors import BadInput
from edgekd.figures import Number
from edgekd.history import history_of
from edgekd.past_runs import read_history
from edgekd.rendering.history import history_page
from edgekd.rendering.sections import page_html, page_markdown
from edgekd.rendering.svg.trend import Step, trend
from edgekd.results import Report

sample = runpy.run_path(str(Path(__file__).parent / "rendering" / "sample_report.py"))


def run(finished: str | None, **changes: Any) -> Report:
    report: Report = sample["sample_report"](finished=finished, **changes)
    return report


def test_runs_are_in_the_order_of_time_whatever_their_zone() -> None:
    runs = [
        ("late", run("2026-03-01T12:00:00+00:00"), 0.0),
        ("early", run("2026-03-01T12:30:00+02:00"), 0.0),
        ("undated", run(None), 1e9),
        ("nonsense", run("yesterday"), 2e9),
    ]
    found = history_of(runs, left_out={})
    assert [entry.run for entry in found.entries] == ["undated", "early", "late", "nonsense"]
    assert [entry.dated_by_file for entry in found.entries] == [True, False, False, True]
    assert found.entries[1].finished == "2026-03-01T10:30:00+00:00"


def test_broken_files_are_named_and_left_out(tmp_path: Path) -> None:
    for index, name in enumerate(("a", "b")):
        (tmp_path / name / "report").mkdir(parents=True)
        text = run(f"2026-03-0{2 - index}T00:00:00+00:00").model_dump_json(by_alias=True)
        (tmp_path / name / "report" / "results.json").write_text(text)
    (tmp_path / "old.json").write_text(text)
    (tmp_path / "cut.json").write_text(text[:500])
    found = report_history(tmp_path)
    assert [entry.run for entry in found.entries] == ["b/report/results.json", "old.json", "a/report/results.json"]
    assert list(found.left_out) == ["cut.json"] and "JSON" in found.left_out["cut.json"]
    assert "cut.json" in (tmp_path / "history.md").read_text()
    assert json.loads((tmp_path / "history.json").read_text())["schema"] == 1
    assert report_history(tmp_path) == found  # its own pages are no runs


def test_a_folder_without_runs_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"holds no results\.json"):
        read_history(tmp_path)
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(BadInput, match=r"x\.json"):
        read_history(tmp_path)
    with pytest.raises(BadInput, match="is no folder"):
        read_history(tmp_path / "x.json")


def step(index: int, value: float, **changes: Any) -> Step:
    number = {"value": value, "low": value - 1, "high": value + 1, "unit": "ms", "word": "estimated", "place": "pi"}
    return Step(index, Number(**(number | changes)), "pass")


def test_a_line_joins_only_what_was_had_in_the_same_way() -> None:
    steps = [step(1, 10.0), step(2, 11.0), step(3, 9.0, word="measured"), step(4, 9.0, word="measured"), step(5, 8.0)]
    root = ElementTree.fromstring(str(trend("Latency", steps, label="estimated (ms)")))
    lines = [e for e in root.iter("line") if "curve" in (e.get("class") or "")]
    dots = list(root.iter("circle"))
    assert len(lines) == 2 and len(dots) == 5
    assert float(dots[1].get("cy", 0)) < float(dots[0].get("cy", 0)) < float(dots[4].get("cy", 0))


def test_models_and_devices_have_sections_of_their_own_the_latest_first() -> None:
    runs = [
        ("a", run("2026-03-01T00:00:00+00:00"), 0.0),
        ("b", run("2026-03-02T00:00:00+00:00", target="jetson-nano"), 0.0),
        ("c", run("2026-03-03T00:00:00+00:00"), 0.0),
    ]
    page = history_page(history_of(runs, left_out={}))
    assert [section.title for section in page.sections[:2]] == [
        "resnet56_state_dict.pt on raspberry-pi-4",
        "resnet56_state_dict.pt on jetson-nano",
    ]
    assert len(page.sections[0].plots) == 5 and page.sections[1].plots == ()  # a single run has no trend
    assert "Accuracy" not in page_markdown(page) and "92.88 % [92.47, 93.29]" in page_markdown(page)


def test_hostile_names_add_no_markup() -> None:
    hostile = sample["HOSTILE"]
    runs = [(hostile, sample["hostile_report"](), float(i)) for i in range(2)]
    page = history_page(history_of(runs, left_out={hostile: hostile}))
    html, text = page_html(page), page_markdown(page)
    assert "&lt;script&gt;alert" in html and html.count("<script>") == 1
    assert "<script>" not in text and "\x1b" not in text + html


def test_a_link_to_itself_is_no_endless_folder(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(run(None).model_dump_json(by_alias=True))
    os.symlink(tmp_path, tmp_path / "loop")
    assert len(read_history(tmp_path).entries) == 1
