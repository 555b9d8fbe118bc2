import base64
import hashlib
import html
import re
import runpy
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edgekd.figures import Figures, Number
from edgekd.rendering.html import render_html
from edgekd.rendering.outline import beside_teacher
from edgekd.results import Report

sample = runpy.run_path(str(Path(__file__).parent / "sample_report.py"))
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Outline(HTMLParser):
    """Collects tags, attributes and text, and checks that every element is closed in its turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def report() -> Report:
    built: Report = sample["sample_report"]()
    return built


def words(page: str) -> str:
    return " ".join(" ".join(Outline(page).text).split()).replace("\u202f", " ")


@pytest.mark.parametrize("build", ["sample_report", "hostile_report"])
def test_the_page_is_whole_and_asks_for_nothing(build: str) -> None:
    page = render_html(sample[build]())
    outline = Outline(page)
    assert outline.open == []
    assert outline.tags.count("script") == 1
    assert not {"link", "img", "iframe", "object", "embed", "form", "base"} & set(outline.tags)
    assert not [name for name, _ in outline.attributes if name.startswith("on") or name in ("src", "srcset", "style")]
    assert all(value.startswith("#") for name, value in outline.attributes if name == "href")
    assert not re.search(r"https?://|@import|url\(|<script[^>]", page)


def test_links_inside_the_page_lead_somewhere() -> None:
    outline = Outline(render_html(report()))
    ids = [value for name, value in outline.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for name, value in outline.attributes if name == "href"} <= set(ids)


def test_hostile_names_are_shown_shortened_and_do_nothing() -> None:
    page = render_html(sample["hostile_report"]())
    assert "&lt;script&gt;alert" in page
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\ud800-\udfff]", page)
    assert "A" * 2001 not in page
    assert len(page) < 200_000


def test_every_figure_stands_with_its_word_and_interval() -> None:
    text = words(render_html(report()))
    assert "19.4 ms [12.6, 26.2] ○ estimated for raspberry-pi-4" in text
    assert "92.88 % [92.47, 93.29]" in text and "Accuracy measured on host" in text
    assert "0.520 x [0.500, 0.540] at 99 %" in text and "CPU time against fp32 measured on host" in text
    assert "Brackets hold 90 % intervals" in text
    assert "41.7 ms ● measured on host" in text


def test_sections_come_in_the_order_of_interest() -> None:
    page = render_html(report())
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles == [
        "Budgets",
        "Side by side",
        "What was tried",
        "What the teacher was worth",
        "Classes",
        "How int8 was made",
        "Time and memory",
        "Other devices",
        "Reproduce",
        "What is not known",
    ]
    text = words(page)
    order = ["Teacher", "Student alone (control)", "Distilled student", "Shipped"]
    assert sorted(order, key=text.index) == order


def test_what_all_figures_of_a_column_share_is_said_once() -> None:
    built = report()
    page = render_html(built)
    [table] = re.findall(r'<section id="models">.*?</table>', page, re.DOTALL)
    assert words(table).count("estimated for raspberry-pi-4") == 3  # p50, p95 and memory
    [shipped] = re.findall(r'<tr class="chosen">.*?</tr>', table, re.DOTALL)
    assert "the distilled student as int8_static for onnxruntime" in words(shipped)
    known = built.models["shipped"]
    assert known is not None and known.score is not None
    emulated = known.model_copy(update={"score": known.score.model_copy(update={"word": "emulated"})})
    mixed = words(render_html(built.model_copy(update={"models": built.models | {"shipped": emulated}})))
    assert "92.88 % [92.47, 93.29] ◐ emulated on host" in mixed


def test_one_latency_where_median_and_tail_are_not_told_apart() -> None:
    built = report()
    models = {
        who: found.model_copy(update={"latency_p50_ms": found.latency_p95_ms}) if found else None
        for who, found in built.models.items()
    }
    page = words(render_html(built.model_copy(update={"models": models})))
    assert "Latency estimated for raspberry-pi-4" in page
    assert "Neither estimates nor counts tell the median latency from the tail" in page
    assert "An estimate does not tell" not in words(render_html(built))


def test_settings_of_the_run_are_no_python_texts() -> None:
    built = report().model_copy(update={"splits": {"train": {"samples": 40500, "per_class": [10, 20]}}})
    page = render_html(built)
    assert "train.samples" in page and "10, 20" in page
    assert "{&#39;" not in page


def test_noise_is_a_matter_of_what_was_quantized() -> None:
    built = report()
    candidates = tuple(c.model_copy(update={"sqnr_db": 200.0}) for c in built.candidates if c.scheme == "fp32")
    assert (
        "200"
        not in words(render_html(built.model_copy(update={"candidates": candidates}))).split("What was tried")[-1][:300]
    )


@pytest.mark.parametrize("found", ["pass", "missed", "inconclusive"])
def test_the_verdict_is_a_word_at_the_top(found: str) -> None:
    page = render_html(report().model_copy(update={"verdict": found}))
    assert f'<header class="banner {found}">' in page
    assert found.capitalize() in words(page)[:200]


def test_missing_data_come_before_everything() -> None:
    def first_element(score_name: str | None) -> str:
        page = render_html(report().model_copy(update={"score_name": score_name}))
        return " ".join(page.split("<main>")[1].split())

    assert first_element(None).startswith('<p class="notice" role="note">No data were given')
    assert first_element("agreement").startswith('<p class="notice" role="note">The data have no labels')
    assert first_element("accuracy").startswith("<header")


def test_a_bare_report_renders() -> None:
    bare = report().model_copy(
        update={
            "models": {"teacher": None, "control": None, "student": None, "shipped": Figures()},
            "candidates": (),
            "budgets": (),
            "distillation": None,
            "judgement": None,
            "parity": (),
            "per_class": {},
            "latency_by_operator": {},
            "artifact": {},
            "seconds": {},
            "splits": None,
            "environment": {},
            "fallbacks": (),
            "warnings": (),
            "unknown": (),
            "score_name": None,
        }
    )
    text = words(render_html(bare))
    assert "No budget was set." in text
    assert "Not part of this run: teacher, student alone (control), distilled student." in text
    assert "not known" in text


def test_whether_distillation_paid_is_said_by_the_interval() -> None:
    built = report()
    assert built.distillation is not None and built.distillation.gain is not None

    def said(value: float, low: float, high: float) -> str:
        assert built.distillation is not None and built.distillation.gain is not None
        gain = built.distillation.gain.model_copy(update={"value": value, "low": low, "high": high})
        changed = built.distillation.model_copy(update={"gain": gain})
        return words(render_html(built.model_copy(update={"distillation": changed})))

    assert "Distillation paid: 0.87 points (+0.31 to +1.42 points)" in said(0.0087, 0.0031, 0.0142)
    assert "Distillation did not pay: 0.87 points" in said(-0.0087, -0.0142, -0.0031)
    assert "Whether distillation paid is open" in said(0.0010, -0.0020, 0.0040)


def test_rendering_is_a_pure_function() -> None:
    assert render_html(report()) == render_html(report())


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two #rrggbb colours as WCAG 2.2 defines it."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_text_has_enough_contrast_in_the_light_and_in_the_dark() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    css = render_html(report()).split("<style>")[1].split("</style>")[0]
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)[:2]
    )
    assert set(dark) == set(light)
    pairs = [
        (ink, paper) for ink in ("ink", "muted") for paper in ("page", "card", "pass-soft", "missed-soft", "open-soft")
    ]
    pairs += [
        ("pass", "pass-soft"),
        ("missed", "missed-soft"),
        ("open", "open-soft"),
        ("shipped", "card"),
        ("ink", "grid"),
    ]
    for colours in (light, dark):
        for text, paper in pairs:
            assert contrast(colours[text], colours[paper]) >= 4.5, (text, paper)
        for series in ("shipped", "student", "control", "teacher", "pass", "missed"):
            assert contrast(colours[series], colours["card"]) >= 3.0, series


def test_the_first_screen_says_what_ships_whether_it_fits_and_why_not() -> None:
    built = report()
    top = words(render_html(built).split('<section id="budgets">')[0].split("<main>")[1])
    assert top.startswith("? Inconclusive resnet56_state_dict.pt on raspberry-pi-4")
    why = "19.4 ms estimated, at most 30 ms; only an estimate"
    assert top.index(why) < top.index("261 KiB measured, at most 256 KiB (warns only); over the limit by 2 %")
    assert "0.51 points [" not in top  # what fits needs no reason
    for fact in ("Size 261 KiB 8 % of the teacher's", "Latency 19.4 ms [12.6, 26.2]", "0.51 points below the teacher"):
        assert fact in top
    missed = built.budgets[2].model_copy(update={"severity": "error"})
    changed = built.model_copy(update={"budgets": (*built.budgets[:2], missed), "verdict": "missed"})
    top = words(render_html(changed).split('<section id="budgets">')[0])
    assert top.index("over the limit by 2 %") < top.index("only an estimate")


def test_the_policy_names_our_style_and_script_and_nothing_else() -> None:
    page = render_html(sample["hostile_report"]())
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', page)

    def digest(element: str) -> str:
        [text] = re.findall(f"<{element}>(.*?)</{element}>", page, re.DOTALL)
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert html.unescape(policy).split("; ") == [
        "default-src 'none'",
        f"style-src {digest('style')}",
        f"script-src {digest('script')}",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_tables_and_plots_have_names_for_those_who_hear_them() -> None:
    page = render_html(report())
    tables = re.findall(r"<table[^>]*>\s*(?:<caption>)?", page)
    assert len(tables) > 10
    assert all("<caption>" in table or "aria-labelledby" in table for table in tables)
    assert all("<title>" in drawing for drawing in re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    headers = re.findall(r"<th\b[^>]*>", page)
    assert headers and all('scope="' in header for header in headers)


def test_what_is_no_better_and_no_worse_is_level() -> None:
    said = [
        beside_teacher(Number(value=v, unit="fraction", word="measured", place="host")) for v in (0.0051, -0.0051, 0)
    ]
    assert said == ["0.51 points below the teacher", "0.51 points above the teacher", "level with the teacher"]
