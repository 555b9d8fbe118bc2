"""What the sections of a report say, before Markdown or HTML give it a form; so that both say the same."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edgekd.budget import score_drop
from edgekd.figures import Figures, Number, Word
from edgekd.nested import leaves
from edgekd.rendering.tables import Cell, Table
from edgekd.rendering.text import MODEL_TITLES, clean
from edgekd.results import BudgetOutcome, Candidate, Confusion, DeviceEstimate, Report

Shipped = Literal["teacher", "student", "control"]
SHIPPED: dict[Shipped, str] = {
    "teacher": "the model itself",
    "student": "the distilled student",
    "control": "the control, trained without the teacher,",
}
HOST_COST = "CPU time against fp32"
HOW_COMPARED = (
    "CPU time of one inference on this machine, in turns with fp32: below 1 is faster. Where this machine would take "
    "slower kernels than the target, a twin that computes the same is timed instead. SQNR is the signal over the noise "
    "that quantization adds to the outputs: 20 dB is a tenth. On the Pareto front is what no other candidate beats in "
    "score, latency and memory together."
)
"""What the columns of the candidates' table mean."""
SESSION_COST = "Time against the usual session"
HOW_RUN = (
    "Sessions of what ships, tried on this machine: peak memory of a fresh process each, and CPU time of one inference "
    "in turns with the usual session; of more threads it is the 10th percentile of wall time, against half as many. "
    "What takes no less memory is not timed."
)
"""What the columns of the sessions' table mean."""
MOST_ENTRIES = 200
ALL_CLASSES_UP_TO, CHANGED_CLASSES = 30, 15
MATRIX_UP_TO = 20


@dataclass(frozen=True)
class Compared:
    """One model of the side-by-side table. `drop` is against the teacher; `size` and `macs` are ratios to it."""

    title: str
    note: str
    figures: Figures
    drop: Number | None
    size_ratio: float | None
    macs_ratio: float | None


@dataclass(frozen=True)
class ClassRecall:
    """Recall, or another share, of one class, 0 to 1, by the teacher and by what shipped."""

    name: str
    teacher: float
    shipped: float


def compared(report: Report) -> tuple[Compared, ...]:
    """Teacher, student alone, distilled student and shipped, as far as they exist; if no int8 shipped, the best one."""
    rows = []
    chosen = next((candidate for candidate in report.candidates if candidate.chosen), None)
    trained: Shipped = report.distillation.shipped if report.distillation else "teacher"
    notes = {"shipped": f"{shipped_as(trained, chosen)}, {session_words(chosen.session)}" if chosen else ""}
    if report.distillation:
        notes |= {"student": report.distillation.origin}
    teacher = report.models.get("teacher")
    for key, title in MODEL_TITLES.items():
        figures = report.models.get(key)
        if figures is not None:
            rows.append(_against(teacher, figures, title, notes.get(key, "")))
    best = best_int8(report.candidates)
    if best is not None and not (chosen and chosen.scheme.startswith("int8")):
        rows.append(_against(teacher, best, "Best int8, not shipped", best.id))
    return tuple(rows)


def shipped_as(trained: Shipped, chosen: Candidate) -> str:
    """What ships, in words: which of the students, or the model itself, by which scheme, for which runtime."""
    return f"{SHIPPED[trained]} as {chosen.scheme} for {chosen.runtime}"


def session_words(session: Mapping[str, Any]) -> str:
    """Session options in words, as in "2 threads, arena off"; without any it is the usual session."""
    words = []
    names = {"session.use_memory_mapped_ort_model": "memory mapping", "INFERENCE_PRECISION_HINT": "floats in"}
    for key, value in session.items():
        name = names.get(key, key.replace("_", " "))
        if key == "threads":
            words.append(f"{value} thread{'s' * (value != 1)}")
        elif key == "file":
            words.append(str(value))
        else:
            words.append(f"{name} {'off' if value in (False, '0') else 'on' if value in (True, '1') else value}")
    return ", ".join(words) or "the usual session"


def standing(candidate: Candidate) -> str:
    """What more the table says of a candidate than why it was or was not chosen; "" where there is nothing."""
    said = ["on the Pareto front"] if candidate.pareto else []
    return ", ".join([*said, *([f"scored on {candidate.scored_on}"] if candidate.scored_on else [])])


def operator_word(report: Report) -> Word:
    """How the time by operator was obtained: as the latency was, except that it is never measured."""
    shipped = report.models.get("shipped")
    counted = shipped is not None and shipped.instructions is not None
    return "emulated" if counted else "estimated"


def noise(candidate: Candidate) -> float | None:
    """Signal to quantization noise in dB; None for fp32, which quantizes nothing."""
    return None if candidate.scheme == "fp32" else candidate.sqnr_db


def best_int8(candidates: tuple[Candidate, ...]) -> Candidate | None:
    """The int8 candidate with the highest score, the faster one of equals; None where none was scored."""
    scored = [c for c in candidates if c.scheme.startswith("int8") and c.score is not None]
    return max(scored, key=lambda c: (c.score.value if c.score else 0.0, -_p95(c)), default=None)


def failing(report: Report) -> tuple[BudgetOutcome, ...]:
    """Budgets that are not met: those that are missed first, those that only warn last."""
    held = [outcome for outcome in report.budgets if outcome.verdict != "pass"]
    return tuple(sorted(held, key=lambda outcome: (outcome.severity == "warn", outcome.verdict != "missed")))


def file_name(path: str) -> str:
    """A file without its folders, for headings."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2] or path


def beside_teacher(drop: Number) -> str:
    """How far a score is from the teacher's, as in "0.51 points below the teacher"."""
    points = f"{100 * abs(drop.value):.2f}"
    if float(points) == 0:
        return "level with the teacher"
    return f"{points} points {'below' if drop.value > 0 else 'above'} the teacher"


def absent(report: Report) -> tuple[str, ...]:
    """Titles of the models that this run has no figures for."""
    return tuple(title for key, title in MODEL_TITLES.items() if report.models.get(key) is None)


def missing_data(report: Report) -> str:
    """The sentence that must open a report whose scores are not accuracies, or ""."""
    if report.score_name is None:
        return "No data were given: nothing was scored, and whether the model is still right is not known."
    if report.synthesised:
        return (
            "No data were given: inputs were synthesised from the teacher, and every score is agreement with it on "
            "such inputs, which says little about real ones."
        )
    if report.score_name in ("agreement", "fidelity"):
        return f"The data have no labels: every score is {report.score_name} with the teacher, and no accuracy."
    return ""


def teacher_worth(report: Report) -> str:
    """Whether distillation paid, in a sentence; "" where nothing was distilled."""
    found = report.distillation
    if found is None:
        return ""
    gain = found.gain
    if gain is None:
        return "What the teacher was worth is not known: the student was not also trained without it."
    points = f"{100 * abs(gain.value):.2f} points"
    if gain.low is not None and gain.high is not None:
        interval = f"{100 * gain.low:+.2f} to {100 * gain.high:+.2f} points"
        if gain.low <= 0 <= gain.high:
            return (
                f"Whether distillation paid is open: the difference of {100 * gain.value:+.2f} points spans {interval}."
            )
        points += f" ({interval})"
    if gain.value > 0:
        return f"Distillation paid: {points} over the same student trained alone, on validation samples."
    return f"Distillation did not pay: {points} under the same student trained alone, on validation samples."


def recalls(per_class: Mapping[str, Mapping[str, float]]) -> tuple[ClassRecall, ...]:
    """Classes by what they lost, most first. A class without test images has no recall, and is left out."""
    rows = (
        ClassRecall(name, row.get("teacher", math.nan), row.get("shipped", math.nan)) for name, row in per_class.items()
    )
    known = (row for row in rows if math.isfinite(row.teacher) and math.isfinite(row.shipped))
    return tuple(sorted(known, key=lambda row: row.shipped - row.teacher))


def most_changed(rows: tuple[ClassRecall, ...]) -> tuple[ClassRecall, ...]:
    """All of up to 30 classes; of more, the 15 that changed most, in the order they came in."""
    if len(rows) <= ALL_CLASSES_UP_TO:
        return rows
    changed = sorted(rows, key=lambda row: -abs(row.shipped - row.teacher))[:CHANGED_CLASSES]
    return tuple(row for row in rows if row in changed)


def confusion_counts(confusion: Confusion) -> tuple[tuple[str, ...], list[list[int]]] | None:
    """Classes and the counts (truth, answer) of what shipped; None where there are too many classes for a matrix."""
    names = dict.fromkeys(
        (*confusion.samples, *(name for pair in confusion.pairs for name in (pair.truth, pair.answer)))
    )
    if len(names) > MATRIX_UP_TO:
        return None
    index = {name: i for i, name in enumerate(names)}
    counts = [[0] * len(index) for _ in index]
    for pair in confusion.pairs:
        counts[index[pair.truth]][index[pair.answer]] = pair.shipped
    for name, i in index.items():
        counts[i][i] = max(0, confusion.samples.get(name, 0) - sum(counts[i]))
    return tuple(names), counts


def device_tables(report: Report) -> tuple[Table, ...]:
    """What ships on every device, the fastest first; where it cannot be estimated, why."""
    known = sorted((one for one in report.devices if one.latency_ms), key=_milliseconds)
    rows: list[tuple[Cell, ...]] = [(one.target, one.latency_ms, one.peak_memory_kib, None) for one in known]
    rows += [(one.target, None, None, one.error) for one in report.devices if one.latency_ms is None]
    header = ("Device", "Latency", "Peak memory", "Not known because")
    note = "The shipped file in ONNX Runtime, with as many threads as each device's profile says."
    return (Table("The shipped file on every device", header, tuple(rows), note, folded=True),) if rows else ()


def metric_names(report: Report) -> tuple[str, ...]:
    """Names of the secondary metrics that any model has, in the order they were first met."""
    return tuple(dict.fromkeys(name for row in compared(report) for name in row.figures.metrics))


def flattened(tree: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A nested record as ("cpu.governor", "performance") pairs of printable text, at most 200 of them."""
    pairs = [(clean(key), clean(value, longest=200)) for key, value in leaves(tree)]
    left_out = len(pairs) - MOST_ENTRIES
    return pairs if left_out <= 0 else [*pairs[:MOST_ENTRIES], ("…", f"{left_out} more in results.json")]


def _against(teacher: Figures | None, figures: Figures, title: str, note: str) -> Compared:
    if teacher is None or figures is teacher:
        return Compared(title, note, figures, drop=None, size_ratio=None, macs_ratio=None)
    return Compared(
        title,
        note,
        figures,
        drop=score_drop(teacher, figures),
        size_ratio=_ratio(figures.size_kib, teacher.size_kib),
        macs_ratio=_ratio(figures.macs, teacher.macs),
    )


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _milliseconds(one: DeviceEstimate) -> float:
    return one.latency_ms.value if one.latency_ms else math.inf


def _p95(candidate: Candidate) -> float:
    return candidate.latency_p95_ms.value if candidate.latency_p95_ms else float("inf")
