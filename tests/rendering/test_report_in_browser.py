"""Pages in a real browser, with clicks and keys: on a phone and on a desk, dark, printed, and without scripts."""

import json
import os
import re
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edgekd.between_runs import compare_runs
from edgekd.history import history_of
from edgekd.rendering.between_runs import between_runs_page
from edgekd.rendering.history import history_page
from edgekd.rendering.html import render_html
from edgekd.rendering.sections import page_html

FOLDER = Path(__file__).parent
sample = runpy.run_path(str(FOLDER / "sample_report.py"))
VIEWS = [{"width": width, "dark": dark} for width in (390, 1280) for dark in (False, True)]

pytestmark = pytest.mark.slow


def page_of(name: str) -> str:
    one, other = sample["sample_report"](), sample["hostile_report"]()
    if name == "between_runs":
        return page_html(between_runs_page(compare_runs(one, other, names=("a", sample["HOSTILE"]))))
    if name == "history":
        runs = [("a.json", one, 1e9), ("b.json", one, 2e9), ("c.json", other, 3e9)]
        return page_html(history_page(history_of(runs, left_out={"d.json": sample["HOSTILE"]})))
    return render_html(sample[name]())


def look(
    page: str, views: list[dict[str, Any]], *, chromium: str, node_modules: Path, folder: Path, **job: Any
) -> list[dict[str, Any]]:
    """What `look.cjs` sees of a page in each view."""
    (folder / "page.html").write_text(page, encoding="utf-8")
    job |= {"browser": chromium, "profile": str(folder / "profile"), "views": views}
    job["page"] = (folder / "page.html").as_uri()
    done = subprocess.run(
        ["node", str(FOLDER / "look.cjs"), json.dumps(job)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "NODE_PATH": str(node_modules)},
    )
    assert done.returncode == 0, done.stderr[-1000:]
    seen: list[dict[str, Any]] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize("name", ["sample_report", "hostile_report", "between_runs", "history"])
def test_nothing_overflows_or_loads_and_all_can_read_it(
    name: str, chromium: str, node_modules: Path, tmp_path: Path
) -> None:
    axe = str(node_modules / "axe-core" / "axe.min.js")
    views = [*VIEWS, {"width": 768, "dark": False}]
    seen = look(page_of(name), views, chromium=chromium, node_modules=node_modules, folder=tmp_path, axe=axe)
    assert len(seen) == 5
    for view in seen:
        assert view["scroll"] <= view["width"]
        assert view["out"] == []
        assert view["faults"] == []  # a script or style that the policy does not name would be one
        assert [found for found in view["violations"] if found["impact"] in ("serious", "critical")] == []
        assert view["paper"] == ("rgb(19, 21, 26)" if view["dark"] else "rgb(250, 249, 246)")


def test_a_checker_that_finds_nothing_would_find_something(chromium: str, node_modules: Path, tmp_path: Path) -> None:
    axe = str(node_modules / "axe-core" / "axe.min.js")
    page = re.sub(r"--muted: #\w+", "--muted: #e0e0e0", page_of("sample_report"))
    broken = page.replace("Content-Security-Policy", "x-none")
    [view] = look(broken, VIEWS[:1], chromium=chromium, node_modules=node_modules, folder=tmp_path, axe=axe)
    assert "color-contrast" in [found["id"] for found in view["violations"]]


def test_headers_sort_by_click_and_key_and_print_is_light(chromium: str, node_modules: Path, tmp_path: Path) -> None:
    pdf = tmp_path / "page.pdf"
    [view] = look(
        page_of("sample_report"),
        [{"width": 1280, "dark": True}],
        chromium=chromium,
        node_modules=node_modules,
        folder=tmp_path,
        pdf=str(pdf),
    )
    sizes = {
        key: [text.replace("\u202f", " ") for text in texts] for key, texts in view["sorted"].items() if key != "said"
    }
    assert sizes["before"] == ["861 KiB", "861 KiB", "858 KiB", "261 KiB", "342 KiB"]
    assert sizes["rising"] == ["261 KiB", "342 KiB", "858 KiB", "861 KiB", "861 KiB"]
    assert sizes["falling"] == sizes["rising"][::-1]
    assert view["sorted"]["said"] == "descending"
    assert view["printed"] == "rgb(29, 31, 36)"
    assert pdf.read_bytes().startswith(b"%PDF-") and pdf.stat().st_size > 50_000


def test_without_scripts_all_is_there_but_the_sorting(chromium: str, node_modules: Path, tmp_path: Path) -> None:
    views = [{"width": 1280, "dark": False, "scripts": scripts} for scripts in (True, False)]
    on, off = look(page_of("sample_report"), views, chromium=chromium, node_modules=node_modules, folder=tmp_path)
    assert on["buttons"] > 20 and off["buttons"] == 0
    assert off["sorted"] is None and off["faults"] == []
    assert off["out"] == [] and off["height"] > 0.9 * on["height"]
