import html
import json
import re
import runpy
from pathlib import Path

import pytest

from edgekd.cli.tables import print_json
from edgekd.errors import one_line
from edgekd.rendering.findings import findings
from edgekd.rendering.github import annotations, refusal, summary
from edgekd.rendering.text import clean

gates = runpy.run_path(str(Path(__file__).parent / "sample_gate.py"))
COMMANDS = {"error", "warning", "notice", "debug", "group", "endgroup", "add-mask", "stop-commands", "set-output"}


def obeyed(output: str) -> list[tuple[str, dict[str, str], str]]:
    """What GitHub's runner makes of output: command, properties and message of each line that it obeys.

    Written after the parser of the runner: the newer form, `::command key=value,...::message`, at the start of a line
    after white space; then the older one, `##[command key=value;...]message`, anywhere in a line.
    """
    found = []
    for line in re.split(r"\r\n|\r|\n", output):
        if newer := re.match(r"\s*::(?P<info>.*?)::(?P<data>.*)$", line):
            command, _, given = newer["info"].partition(" ")
            if command in COMMANDS:
                pairs = [pair.split("=", 1) for pair in given.strip().split(",") if "=" in pair]
                found.append((command, {k: unescaped(v, ":,") for k, v in pairs}, unescaped(newer["data"])))
                continue
        if older := re.search(r"##\[(?P<info>[^\]]*)\](?P<data>.*)$", line):
            command, _, given = older["info"].partition(" ")
            if command in COMMANDS:
                found.append((command, {"older": given}, older["data"]))
    return found


def unescaped(text: str, more: str = "") -> str:
    for char in f"\r\n{more}%":
        text = text.replace(f"%{ord(char):02X}", char)
    return text


def test_each_finding_is_annotated_by_what_it_does_to_the_build() -> None:
    found = obeyed("\n".join(annotations(gates["gate_result"]())))
    assert [(command, properties["title"]) for command, properties, _ in found] == [
        ("error", "Latency, p95 on raspberry-pi-4: missed"),
        ("error", "Instructions on raspberry-pi-4: regression"),
        ("error", "Time here, CPU on raspberry-pi-4: inconclusive"),
        ("warning", "Drop of score on raspberry-pi-4: missed"),
        ("warning", "MACs on raspberry-pi-4: regression"),
        ("notice", "File size on raspberry-pi-4: improvement"),
    ]
    assert found[0][2] == (
        "Latency, p95 at most 30 ms: 31.5 ms measured on ssh://pi@pi4; over the limit by 5 %"  # as a person reads it
    )
    assert found[1][2].startswith("Instructions against the baseline: +1.20 % ")


def test_a_comparison_without_figures_is_told_by_its_reason() -> None:
    baseline = gates["baseline"]()
    one = baseline.comparisons[0].model_copy(update={"change": None, "reason": "there was none before"})
    two = one.model_copy(update={"baseline": None, "now": None, "reason": "the same file"})
    found = findings((), baseline.model_copy(update={"comparisons": (one, two)}))
    core = "emulated on emulate:cortex-a72"
    assert [finding.told for finding in found] == [
        f"50.6 M {core}, 50.0 M {core} before; there was none before",
        "the same file",
    ]


def test_a_baseline_with_which_nothing_could_be_compared_is_undecided() -> None:
    baseline = gates["baseline"]()
    for comparisons in ((), baseline.comparisons[2:3]):  # none, or one that only warns
        found = findings((), baseline.model_copy(update={"comparisons": comparisons}))[-1]
        assert (found.name, found.verdict, found.fails) == ("Comparison with the baseline", "inconclusive", True)
    assert not any(finding.title == "Comparison" for finding in findings((), baseline))


@pytest.mark.parametrize("hostile", gates["HOSTILE"])
def test_a_refusal_is_one_command_with_the_sentence(hostile: str) -> None:
    assert obeyed(refusal(f"{hostile} does not exist")) == [
        ("error", {"title": "edgekd"}, one_line(f"{hostile} does not exist"))
    ]


def test_what_passes_is_not_annotated() -> None:
    plain = gates["gate_result"]()
    assert annotations(plain.model_copy(update={"outcomes": plain.outcomes[2:], "baseline": None})) == ()


@pytest.mark.parametrize("hostile", gates["HOSTILE"])
def test_hostile_names_neither_begin_nor_end_a_command(hostile: str) -> None:
    lines = annotations(gates["gate_result"](hostile or None))
    assert len(lines) == 6 and not any("\n" in line or "\r" in line for line in lines)
    found = obeyed("\n".join(lines))
    assert [command for command, _, _ in found] == ["error"] * 3 + ["warning"] * 2 + ["notice"]
    assert all(set(properties) == {"title"} for _, properties, _ in found)
    if hostile:
        assert found[0][1]["title"] == f"Latency, p95 on {clean(hostile, longest=40)}: missed"
        assert found[0][2].endswith(f"; {clean(hostile)}")  # shown as it is, not obeyed and not twice escaped


@pytest.mark.parametrize("hostile", gates["HOSTILE"])
def test_no_other_output_of_the_gate_is_obeyed(hostile: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = gates["gate_result"](hostile or None)
    told = [f"edgekd: {one_line(hostile)}", *(f.line for f in findings(result.outcomes, result.baseline))]
    assert obeyed("\n".join(told)) == []
    if "\ud800" in hostile:
        return  # no path or name reaches JSON with half a character
    print_json({"name": hostile, "names": [hostile]})
    printed = capsys.readouterr().out
    assert obeyed(printed) == []
    assert json.loads(printed) == {"name": hostile, "names": [hostile]}


def test_the_summary_names_verdict_figures_and_words() -> None:
    text = summary(gates["gate_result"]())
    assert text.startswith("## Missed: runs/model on raspberry-pi-4\n\nLatency is over its limit.\n\n| Budget |")
    assert "| 31.5 ms measured on ssh" in text
    assert "### Against main/results.json\n\n| Figure | Before | Now | Change | Verdict | Why |\n" in text
    core = "emulated on emulate:cortex-a72"
    assert f"| Instructions | 50.0 M {core} | 50.6 M {core} | \\+1.20 % [1.20, 1.20] | Regression |" in text
    assert "| MACs | 60.0 M measured | 63.0 M measured | \\+5.00 % | Regression (warns only) |" in text
    assert "- Peak memory is left out: it was measured on another machine\n" in text


def test_a_summary_without_budgets_or_baseline_says_so() -> None:
    plain = gates["gate_result"]()
    assert "No budget was set." in summary(plain.model_copy(update={"outcomes": (), "baseline": None}))
    assert "No budget was set." not in summary(plain.model_copy(update={"outcomes": ()}))


@pytest.mark.parametrize("hostile", gates["HOSTILE"])
def test_hostile_names_add_no_markup_to_the_summary(hostile: str) -> None:
    text = summary(gates["gate_result"](hostile or None))
    assert text.count("\n| ") == summary(gates["gate_result"]()).count("\n| ")  # no row more
    assert "<" not in text and "](" not in text.replace("\\](", "")
    assert {line.count(" | ") for line in text.split("\n\n")[-2].splitlines()} == {5}
    if hostile.strip("\x00") and "\\" not in text.splitlines()[0]:
        assert clean(hostile) in html.unescape(text.splitlines()[0])
