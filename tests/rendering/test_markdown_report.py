import re
import runpy
from pathlib import Path

import pytest

from edgekd.figures import Counted
from edgekd.rendering.gfm import escape
from edgekd.rendering.markdown import budget_table, render_markdown
from edgekd.rendering.outline import session_words
from edgekd.rendering.text import MISSING, figure
from edgekd.results import Report

sample = runpy.run_path(str(Path(__file__).parent / "sample_report.py"))


def report() -> Report:
    built: Report = sample["sample_report"]()
    return built


def test_every_figure_stands_with_its_interval_and_word() -> None:
    built = report()
    text = render_markdown(built)
    known = [figures for figures in built.models.values() if figures is not None]
    shown = [n for f in known for n in (f.score, f.latency_p50_ms, f.latency_p95_ms, f.peak_memory_kib)]
    shown += [n for c in built.candidates for n in (c.score, c.latency_p95_ms, c.host_ratio_to_fp32)]
    shown += [outcome.actual for outcome in built.budgets]
    for number in shown:
        if number is not None:
            assert figure(number) in text
    header = next(line for line in text.splitlines() if line.startswith("| Model"))
    assert "| Accuracy, measured on host |" in header
    assert "| Latency p50, estimated for raspberry-pi-4 | Latency p95, estimated for raspberry-pi-4 |" in header
    assert "Brackets hold 90 % intervals" in text
    assert "[0.500, 0.540] at 99 %" in text


def test_sections_come_in_the_order_of_interest() -> None:
    text = render_markdown(report())
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    assert titles == [
        "Inconclusive: models/resnet56_state_dict.pt on raspberry-pi-4",
        "Side by side",
        "What was tried",
        "How it is run",
        "Export against the trained module",
        "What the teacher was worth",
        "Seeds, accuracy on test",
        "Cross-validation, accuracy on the fold held out",
        "Ways to teach",
        "How like the teacher",
        "Similarity of features",
        "Recall by class",
        "Most frequent mistakes",
        "How int8 was made",
        "The ladder",
        "What int8 costs on the target",
        "Where int8_static breaks off",
        "Noise by layer, int8_static",
        "Where the time goes",
        "Shipped model timed on host, onnxruntime 1.31.0",
        "Other devices",
        "The shipped file on every device",
        "Environment",
        "Reproduce",
        "What is not known",
        "Fallbacks",
        "Warnings",
    ]


def test_time_by_operator_says_whether_it_was_counted() -> None:
    built = report()
    assert "| QLinearConv | 15.1 ms estimated |" in render_markdown(built)
    shipped = built.models["shipped"]
    assert shipped is not None
    counted = shipped.model_copy(update={"instructions": Counted(place="emulate:cortex-a72@1.31.1", by_class={})})
    text = render_markdown(built.model_copy(update={"models": built.models | {"shipped": counted}}))
    assert "| QLinearConv | 15.1 ms emulated |" in text


def test_missing_data_are_the_first_line() -> None:
    assert render_markdown(report()).startswith("# Inconclusive")
    unlabelled = render_markdown(report().model_copy(update={"score_name": "agreement"}))
    assert unlabelled.startswith(
        "> **The data have no labels: every score is agreement with the teacher, and no accuracy.**"
    )
    without = render_markdown(report().model_copy(update={"score_name": None}))
    assert without.startswith("> **No data were given")


def test_the_best_int8_has_its_row_where_none_shipped() -> None:
    built = report()
    assert "Best int8" not in render_markdown(built)
    ships = {c.id: c.id == "fp32-onnxruntime" for c in built.candidates}
    float_one = [c.model_copy(update={"chosen": ships[c.id]}) for c in built.candidates]
    text = render_markdown(built.model_copy(update={"candidates": tuple(float_one)}))
    assert "**Best int8, not shipped** int8_mixed-onnxruntime" in text


@pytest.mark.parametrize(
    ("trained", "said"),
    [
        ("student", "**Shipped** the distilled student as int8_static for onnxruntime"),
        ("control", "**Shipped** the control, trained without the teacher, as int8_static for onnxruntime"),
        (None, "**Shipped** the model itself as int8_static for onnxruntime"),
    ],
)
def test_which_student_shipped_is_said_where_shipped_is_shown(trained: str | None, said: str) -> None:
    built = report()
    assert built.distillation is not None
    found = built.distillation.model_copy(update={"shipped": trained}) if trained else None
    assert said in render_markdown(built.model_copy(update={"distillation": found}))


def test_a_verdict_on_distillation_gives_its_number_once() -> None:
    text = render_markdown(report())
    assert text.count("0.87 points (+0.31 to +1.42 points)") == 1
    assert "The distilled student scored higher" not in text


def test_tables_keep_their_columns_whatever_the_names() -> None:
    text = render_markdown(sample["hostile_report"]())
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(blocks) > 5
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_hostile_names_add_no_markup() -> None:
    text = render_markdown(sample["hostile_report"]())
    outside_fences = re.sub(r"^```+sh\n.*?^```+$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert "<script>" not in outside_fences
    assert "\x1b" not in text and "\x00" not in text and "\u202e" not in text
    assert "A" * 4001 not in text


def test_escaping_takes_the_meaning_and_keeps_the_look() -> None:
    assert escape("int8_static") == "int8_static"
    assert escape("_a_ *b* `c` |d|") == r"\_a\_ \*b\* \`c\` \|d\|"
    assert escape("[x](javascript:y)") == r"\[x\](javascript:y)"
    assert escape("[27.1, 27.7]").endswith("[27.1, 27.7]")
    assert escape("# title") == r"\# title"
    assert escape("https://host/x") == "https:&#47;&#47;host/x"
    assert escape("<b>&") == "&lt;b&gt;&amp;"


def test_a_command_cannot_close_its_fence() -> None:
    text = render_markdown(report().model_copy(update={"command": "a ```` b"}))
    assert "`````sh\na ```` b\n`````" in text


def test_no_budget_is_said() -> None:
    assert budget_table(()) == "No budget was set.\n"


def test_sessions_are_in_words_and_so_is_that_of_what_ships() -> None:
    text = render_markdown(report())
    assert f"| the usual session | 72.3 MiB | {MISSING} | another takes less memory |" in text
    taken = "| prepacking off | 68.5 MiB | 1.00 x [0.99, 1.01] at 99 % |"
    assert any(line.startswith(taken) and "**taken** the least memory" in line for line in text.splitlines())
    assert "for onnxruntime, 4 threads, prepacking off" in text
    assert "How it is run" not in render_markdown(report().model_copy(update={"sessions": ()}))
    mapped = {"threads": 1, "file": "model.ort", "session.use_memory_mapped_ort_model": "1"}
    assert session_words(mapped) == "1 thread, model.ort, memory mapping on"
    assert session_words({"threads": 4, "INFERENCE_PRECISION_HINT": "f16"}) == "4 threads, floats in f16"


def test_what_nothing_beats_and_what_was_scored_elsewhere_is_said() -> None:
    text = render_markdown(report())
    assert "(fp32, onnxruntime, on the Pareto front)" in text
    assert "(int8_mixed, onnxruntime, on the Pareto front, scored on x86_64)" in text
    assert "(fp32, openvino)" in text
