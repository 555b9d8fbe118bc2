"""What the teacher was worth, as sentences and tables of plain cells; Markdown and HTML only give them a form."""

from collections.abc import Sequence

from edgekd.figures import Number
from edgekd.judgement import AblationRow, Comparison, Fidelity, Judgement, PairedResult, TuningTrial
from edgekd.rendering.tables import Cell, Table
from edgekd.rendering.text import MODEL_TITLES, interval, quantity, titled
from edgekd.results import Report

_PAIRED = ("Teacher", "Student alone", "Distilled", "Gain", "Steps", "Both trainings")


def judged(report: Report) -> str:
    """What the teacher was worth on unseen samples, in a sentence; "" where the student was not trained both ways."""
    found = report.judgement
    if found is None or not (found.seeds or found.folds):
        return ""
    if found.gain_over_seeds is not None:
        return _said(found.gain_over_seeds, f"Over {len(found.seeds)} seeds", _recovered(found.gap_recovered))
    if found.seeds:
        return _said(found.seeds[0].gain, "With one seed", "; another seed may give another answer")
    if found.gain_over_folds is not None:
        return _said(found.gain_over_folds, f"Over {len(found.folds)} folds", "")
    return _said(found.folds[0].gain, "On one fold", "")


def judgement_tables(report: Report) -> tuple[Table, ...]:
    """Seeds, folds, ways to teach, likeness to the teacher and tried settings, as far as there are any."""
    found = report.judgement
    if found is None:
        return ()
    score = report.score_name or "score"
    made = (
        _seeds(found, score),
        _folds(found, score),
        _ablation(found.ablation, score),
        _comparison(found.comparison),
        _similarity(found.comparison),
        _tuning(found.tuning, score),
    )
    return tuple(table for table in made if table.rows)


def inherited(report: Report) -> str:
    """Whether the student repeats mistakes of the teacher beyond what hard samples explain; "" where not known."""
    comparison = report.judgement.comparison if report.judgement else None
    excess = comparison.inherited_excess if comparison else None
    if excess is None or excess.low is None or excess.high is None:
        return ""
    says = "The student inherited mistakes" if excess.value > 0 else "The student inherited no mistakes"
    if excess.low <= 0 <= excess.high:
        says = "Whether the student inherited mistakes is open"
    points = f"{100 * excess.value:+.2f} points ({100 * excess.low:+.2f} to {100 * excess.high:+.2f})"
    return f"{says}: of those it makes, the share that repeats the teacher's is {points} against the student alone."


def _said(gain: Number, what: str, rest: str) -> str:
    points = f"{100 * gain.value:+.2f} points"
    if gain.low is None or gain.high is None:
        return f"{what}, the student scored {points} against itself trained alone, with no interval known{rest}."
    span = f"{100 * gain.low:+.2f} to {100 * gain.high:+.2f}"
    if gain.low <= 0 <= gain.high:
        return f"{what}, it is open whether the teacher helped: {points} ({span}) on unseen samples{rest}."
    worth = "helped" if gain.value > 0 else "did harm"
    return f"{what}, the teacher {worth}: {points} ({span}) on unseen samples{rest}."


def _recovered(share: Number | None) -> str:
    if share is None:
        return ""
    return f"; gap to the teacher recovered: {quantity(share.value, 'share')} {interval(share)}".rstrip()


def _seeds(found: Judgement, score: str) -> Table:
    rows = [_paired(f"seed {run.seed}", run) for run in found.seeds]
    if found.gain_over_seeds is not None:
        means = (found.seed_scores.get("teacher"), found.seed_scores.get("control"), found.seed_scores.get("student"))
        rows.append((f"mean of {len(rows)}", *means, _points(found.gain_over_seeds), None, None))
    note = (
        "Intervals of a seed cover the choice of test samples, those of the mean the choice of seed; no interval both."
    )
    return Table(f"Seeds, {score} on test", ("Seed", *_PAIRED), tuple(rows), note, folded=len(rows) > 1)


def _folds(found: Judgement, score: str) -> Table:
    rows = [_paired(f"fold {run.fold}", run) for run in found.folds]
    if found.gain_over_folds is not None:
        rows.append((f"mean of {len(rows)}", None, None, None, _points(found.gain_over_folds), None, None))
    note = (
        "The interval of the mean is widened, since the folds' trainings share samples. "
        "Where the teacher was trained on them too, its scores flatter it."
    )
    return Table(
        f"Cross-validation, {score} on the fold held out", ("Fold", *_PAIRED), tuple(rows), note, folded=len(rows) > 1
    )


def _paired(name: str, run: PairedResult) -> tuple[Cell, ...]:
    return (name, run.teacher, run.control, run.student, _points(run.gain), f"{run.steps:,}", _time(run.seconds))


def _ablation(ablation: Sequence[AblationRow], score: str) -> Table:
    rows = tuple(
        (
            f"{index} {row.name}",
            row.score,
            _points(row.difference),
            _time(row.seconds_per_1000_samples),
            quantity(row.peak_memory_kib, "KiB"),
            row.note,
        )
        for index, row in enumerate(ablation, start=1)
    )
    note = "Same student, budget and seed; intervals cover the choice of test samples. Costs are those of training."
    header = ("Taught by", titled(score), "Against labels only", "Per 1,000 samples", "Peak memory", "Note")
    return Table("Ways to teach", header, rows, note)


def _comparison(comparison: Comparison | None) -> Table:
    if comparison is None:
        return Table("", (), (), "")
    errors = comparison.expected_calibration_error
    rows: list[tuple[Cell, ...]] = []
    for role, title in MODEL_TITLES.items():
        fidelity = comparison.fidelity.get(role, Fidelity())
        figures = (fidelity.agreement, fidelity.kl, fidelity.inherited_mistakes)
        if any(figures) or role in errors:
            rows.append((title, *figures, f"{errors[role]:.4f}" if role in errors else None))
    header = ("Model", "Agreement", "KL from the teacher", "Mistakes that are the teacher's", "Calibration error")
    note = "Taken on test samples. Calibration error is the expected one, over 15 bins of confidence."
    return Table("How like the teacher", header, tuple(rows), note)


def _similarity(comparison: Comparison | None) -> Table:
    """Linear CKA by pair of layers; one column per model that has any."""
    known = {role: f.cka for role, f in comparison.fidelity.items() if f.cka} if comparison else {}
    pairs = dict.fromkeys(pair for cka in known.values() for pair in cka)
    rows = tuple((pair, *(f"{cka[pair]:.3f}" if pair in cka else None for cka in known.values())) for pair in pairs)
    header = ("Student and teacher layer", *(MODEL_TITLES[role] for role in known))
    return Table(
        "Similarity of features", header, rows, "Linear CKA with the teacher's features: 1 is alike, 0 unlike."
    )


def _tuning(trials: Sequence[TuningTrial], score: str) -> Table:
    """Every trial with its settings; a setting has a column of its own."""
    names = tuple(dict.fromkeys(name for trial in trials for name in trial.settings))
    rows = tuple(
        (
            f"trial {trial.number}",
            *(f"{trial.settings[name]:.3g}" if name in trial.settings else None for name in names),
            None if trial.score is None else f"{100 * trial.score:.2f} %",
            "taken" if trial.best else "given up early" if trial.ended_early else "",
        )
        for trial in trials
    )
    note = "Short trainings, scored on validation alone; the first has the plan's own settings."
    header = ("Trial", *names, f"{titled(score)} on validation", "")
    return Table("Search for settings", header, rows, note, folded=True)


def _points(number: Number | None) -> Number | None:
    """A difference of scores, to be written in points."""
    return None if number is None else number.model_copy(update={"unit": "fraction"})


def _time(seconds: float | None) -> str:
    return quantity(None if seconds is None else 1000 * seconds, "ms")
