import json
import runpy
from pathlib import Path

import pytest

sample = runpy.run_path(str(Path(__file__).parents[1] / "rendering" / "sample_report.py"))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """The results of a run whose size is over its limit of 1 KiB, as the tests give it."""
    file = tmp_path / "results.json"
    file.write_text(sample["sample_report"](budgets=()).model_dump_json(by_alias=True))
    return file


def test_annotations_leave_stdout_to_the_result(edgekd, results: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    done = edgekd("gate", results, "--budget", "size=1KiB", "--json", env=github)
    assert done.returncode == 1
    assert json.loads(done.stdout)["verdict"] == "missed"
    assert done.stderr.startswith(
        "::error title=File size on raspberry-pi-4%3A missed::File size at most 1 KiB: 261 KiB"
    )
    assert summary.read_text().count("## Missed: ") == 1
    edgekd("gate", results, "--budget", "size=1MiB", env=github)
    assert summary.read_text().count("\n## Pass: ") == 1  # added to what was there


def test_elsewhere_nothing_is_annotated(edgekd, results: Path) -> None:
    done = edgekd("gate", results, "--budget", "size=1KiB", env={"GITHUB_ACTIONS": "", "GITHUB_STEP_SUMMARY": ""})
    assert (done.returncode, done.stderr) == (1, "")


def test_why_nothing_was_judged_is_annotated_too(edgekd, tmp_path: Path) -> None:
    broken = tmp_path / "100%\n::add-mask::x"
    broken.write_text("{")
    done = edgekd("gate", broken, env={"GITHUB_ACTIONS": "true"})
    assert done.returncode == 3
    annotation, said = done.stderr.splitlines()
    assert annotation.startswith("::error title=edgekd::") and "100%25 ::add-mask::x" in annotation
    assert said.startswith("edgekd: ") and said.count("::add-mask") == 1


def test_a_summary_that_cannot_be_written_is_said(edgekd, results: Path, tmp_path: Path) -> None:
    done = edgekd("gate", results, env={"GITHUB_STEP_SUMMARY": str(tmp_path)})
    assert done.returncode == 3
    assert "named by GITHUB_STEP_SUMMARY, cannot be written" in done.stderr
