"""The plots of what classes gained and lost, and which are taken for which."""

import math

from edgekd.rendering.outline import confusion_counts, most_changed, recalls
from edgekd.rendering.plots import Plot
from edgekd.rendering.svg.bars import Bar, bars
from edgekd.rendering.svg.confusion import confusion_matrix
from edgekd.rendering.svg.recall import recall_by_class
from edgekd.rendering.text import clean
from edgekd.results import ConfusedPair, Report

MOST_PAIRS = 15


def class_plot(report: Report) -> Plot | None:
    """Recall, or another share, by class: teacher against shipped."""
    known = recalls(report.per_class)
    rows = most_changed(known)
    caption = "Ring: teacher. Dot: shipped. The classes that lost most come first."
    if len(rows) < len(known):
        caption += f" Shown are the {len(rows)} of {len(known)} classes that changed most."
    name = report.per_class_name
    return Plot(f"{name.capitalize()} by class", recall_by_class(rows, name), caption) if rows else None


def confusion_plot(report: Report) -> Plot | None:
    """Of few classes the whole matrix, of many the pairs that are taken for each other most often."""
    found = report.confusion
    if found is None or not found.pairs:
        return None
    counts = confusion_counts(found)
    caption = "What shipped, on test samples."
    known = [pair for pair in found.pairs if pair.teacher is not None]
    grown = max(known, key=_growth, default=None)
    if grown is not None and _growth(grown) > 2 * math.sqrt(grown.shipped + (grown.teacher or 0)):  # else chance
        caption += (
            f" Against the teacher it most of all takes {clean(grown.truth)} for {clean(grown.answer)}: "
            f"{grown.shipped} times, the teacher {grown.teacher}."
        )
    if counts is not None:
        return Plot("Confusion", confusion_matrix(*counts), f"{caption} The redder, the larger a share of its row.")
    rows = [
        Bar(
            f"{clean(pair.truth, longest=24)} for {clean(pair.answer, longest=24)}",
            100 * pair.shipped / max(1, found.samples.get(pair.truth, 0)),
            f"{pair.shipped} of {found.samples.get(pair.truth, 0)}"
            + ("" if pair.teacher is None else f", teacher {pair.teacher}"),
            "measured",
            "shipped",
        )
        for pair in found.pairs[:MOST_PAIRS]
    ]
    drawn = bars("Most frequent mistakes", rows, label="share of the class's test samples (%)")
    return Plot("Confusion", drawn, f"{caption} The {len(rows)} most frequent mistakes.")


def _growth(pair: ConfusedPair) -> int:
    return pair.shipped - (pair.teacher or 0)
