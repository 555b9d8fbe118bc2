"""Stage 8: results.json, report.html, report.md and junit.xml, from one record and nothing else."""

from pathlib import Path

from edgekd.rendering.html import render_html
from edgekd.rendering.junit import render_junit
from edgekd.rendering.markdown import render_markdown
from edgekd.results import Report
from edgekd.workspace import write_atomic


def write_report(folder: Path, report: Report) -> None:
    """Write the report's four faces into `folder`; each name appears only when its file is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    faces = {
        "results.json": report.model_dump_json(by_alias=True, indent=1) + "\n",
        "report.md": render_markdown(report),
        "report.html": render_html(report),
        "junit.xml": render_junit(report),
    }
    for name, text in faces.items():
        write_atomic(folder / name, text.encode("utf-8"))
