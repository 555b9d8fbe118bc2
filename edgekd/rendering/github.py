"""What the gate tells GitHub: annotations of the commit, and the summary of the job.

Annotations are workflow commands, lines such as `::error title=...::...` that the runner reads from stdout and stderr
alike. https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from edgekd.errors import one_line
from edgekd.gate_result import Baseline, GateResult
from edgekd.rendering.findings import FINE, WARNS, Finding, change, comparison_title, findings
from edgekd.rendering.gfm import escape, table
from edgekd.rendering.markdown import budget_table
from edgekd.rendering.text import VERDICT_WORDS, clean, spoken


def annotations(result: GateResult) -> tuple[str, ...]:
    """Return a workflow command for whatever is not met, and for what became better; those that fail come first.

    Foreign strings are cleaned and escaped, so that they neither end a command nor begin one.
    """
    told = [finding for finding in findings(result.outcomes, result.baseline) if finding.verdict != "pass"]
    return tuple(_command(finding, result.target) for finding in sorted(told, key=lambda f: (not f.fails, f.fine)))


def refusal(sentence: str) -> str:
    """Return the workflow command that says why nothing was judged."""
    return f"::error title=edgekd::{_data(one_line(sentence))}"


def summary(result: GateResult) -> str:
    """Return the verdict, the budgets and the comparisons in Markdown. Foreign strings are escaped."""
    parts = [
        f"## {VERDICT_WORDS[result.verdict]}: {escape(result.run)} on {escape(result.target)}",
        escape(result.reason, longest=500),
        budget_table(result.outcomes) if result.outcomes or result.baseline is None else "",
        *(_compared(result.baseline) if result.baseline else ()),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def _command(finding: Finding, target: str) -> str:
    level = "error" if finding.fails else "notice" if finding.fine else "warning"
    title = f"{finding.title} on {clean(target, longest=40)}: {VERDICT_WORDS[finding.verdict].lower()}"
    return f"::{level} title={_property(title)}::{_data(f'{finding.name}: {finding.told}')}"


def _data(text: str) -> str:
    """Escape the message of a command, in the order in which the runner takes it back."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _compared(baseline: Baseline) -> tuple[str, ...]:
    rows = [
        (
            escape(comparison_title(one.metric)),
            escape(spoken(one.baseline)),
            escape(spoken(one.now)),
            escape(change(one)),
            VERDICT_WORDS[one.verdict] + (WARNS if one.severity == "warn" and one.verdict not in FINE else ""),
            escape(one.reason, longest=300),
        )
        for one in baseline.comparisons
    ]
    left_out = [
        f"{escape(comparison_title(metric))} is left out: {escape(why, longest=300)}"
        for metric, why in baseline.left_out.items()
    ]
    told = [*left_out, *(escape(note, longest=300) for note in baseline.notes)]
    return (
        f"### Against {escape(baseline.name)}",
        table(("Figure", "Before", "Now", "Change", "Verdict", "Why"), rows) if rows else "Nothing could be compared.",
        "\n".join(f"- {sentence}" for sentence in told),
    )
