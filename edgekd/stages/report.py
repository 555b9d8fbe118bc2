"""Stage 9: results.json, report.html, report.md and junit.xml, from one record and nothing else."""

from pathlib import Path

from edgekd.figures import Bench
from edgekd.record import Record
from edgekd.rendering.html import render_html
from edgekd.rendering.junit import render_junit
from edgekd.rendering.markdown import render_markdown
from edgekd.rendering.sections import Page, page_html, page_markdown
from edgekd.results import Report
from edgekd.workspace import write_atomic


def write_samples(folder: Path, report: Report) -> None:
    """Write every benchmark of the run, raw samples and environment, as `folder/NAME.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    benches: dict[str, Bench | None] = {
        str(name): figures.host for name, figures in report.models.items() if figures and name != "shipped"
    }
    benches |= {candidate.id: candidate.host for candidate in report.candidates}
    for name, bench in benches.items():
        if bench is not None:
            write_atomic(folder / f"{name}.json", bench.model_dump_json(indent=1).encode())


def write_page(folder: Path, name: str, record: Record, page: Page) -> None:
    """Write a record as `folder/NAME.json`, and its page as NAME.html and NAME.md."""
    folder.mkdir(parents=True, exist_ok=True)
    faces = {
        "json": record.model_dump_json(by_alias=True, indent=1) + "\n",
        "md": page_markdown(page),
        "html": page_html(page),
    }
    for kind, text in faces.items():
        write_atomic(folder / f"{name}.{kind}", text.encode("utf-8"))


def write_report(folder: Path, report: Report) -> None:
    """Write the report's four faces into `folder`; each name appears only when its file is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    faces = {
        "results.json": report.model_dump_json(by_alias=True, indent=1) + "\n",
        "report.md": render_markdown(report),
        "report.html": render_html(report),
        "junit.xml": render_junit(
            report.budgets, target=report.target, subject=report.model.path, verdict=report.verdict
        ),
    }
    for name, text in faces.items():
        write_atomic(folder / name, text.encode("utf-8"))
