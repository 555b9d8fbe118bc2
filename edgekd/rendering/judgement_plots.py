"""The plots of what the teacher was worth; what there are no figures for is left out."""

from collections.abc import Sequence

from edgekd.figures import Number
from edgekd.judgement import AblationRow, Comparison, Judgement
from edgekd.rendering.plots import Plot
from edgekd.rendering.svg.differences import difference_of, differences
from edgekd.rendering.svg.pareto import Point, pareto
from edgekd.rendering.svg.strips import Strip, strips
from edgekd.rendering.text import MODEL_TITLES, interval, quantity
from edgekd.results import Report

ALL_CLASSES_UP_TO, CHANGED_CLASSES = 40, 20

_PALE = "Pale bars, whose interval holds zero, may be chance"


def judgement_plots(report: Report) -> list[Plot]:
    """Scores and gain by seed, gain by fold, gain and cost by way to teach, gain by class."""
    found = report.judgement
    if found is None:
        return []
    score = report.score_name or "score"
    made = (
        _scores(found, score),
        _gains("Gain by seed", [(f"seed {run.seed}", run.gain) for run in found.seeds], found.gain_over_seeds),
        _gains("Gain by fold", [(f"fold {run.fold}", run.gain) for run in found.folds], found.gain_over_folds),
        _ablation(found.ablation),
        _costs(found.ablation, score),
        _classes(found.comparison),
    )
    return [plot for plot in made if plot is not None]


def _scores(found: Judgement, score: str) -> Plot | None:
    if len(found.seeds) < 2:
        return None
    rows = []
    for role, title in MODEL_TITLES.items():
        mean = found.seed_scores.get(role)
        if mean is not None:
            scores = dict.fromkeys(getattr(run, role).value for run in found.seeds)
            text = f"{quantity(mean.value, 'score')} {interval(mean, 'score')}".rstrip()
            rows.append(Strip(title, role, tuple(scores), mean, text))
    drawn = strips("Score with and without the teacher", rows, label=f"{score} on test samples (%)")
    caption = "Ring: one seed. Tick: mean. The line is the interval of the mean over seeds; of a teacher that is the "
    return Plot("With and without the teacher", drawn, caption + "same for every seed, over test samples.")


def _gains(title: str, gains: Sequence[tuple[str, Number]], mean: Number | None) -> Plot | None:
    if len(gains) < 2:
        return None
    rows = [difference_of(name, gain) for name, gain in gains]
    if mean is not None:
        rows.append(difference_of("mean", mean, total=True))
    drawn = differences(title, rows, label="distilled minus alone (points)")
    return Plot(title, drawn, f"Right of zero the teacher helped. {_PALE}.")


def _ablation(ablation: Sequence[AblationRow]) -> Plot | None:
    rows = [
        difference_of(f"{index} {row.name}", row.difference)
        for index, row in enumerate(ablation, start=1)
        if row.difference is not None
    ]
    if not rows:
        return None
    drawn = differences("Gain by way to teach", rows, label="against labels only (points)")
    return Plot("Gain by way to teach", drawn, f"{_PALE}.")


def _costs(ablation: Sequence[AblationRow], score: str) -> Plot | None:
    points = [
        Point(str(index), _seconds(row.seconds_per_1000_samples, row.score.place), row.score)
        for index, row in enumerate(ablation, start=1)
        if row.score is not None and row.seconds_per_1000_samples is not None
    ]
    if len(points) < 2:
        return None
    drawn = pareto(points, cost="training time per 1,000 samples", score=score)
    caption = "Numbers are those of the table of ways to teach; the line joins what nothing else beats."
    if len(points) < len(ablation):
        caption += f" Not drawn, for want of a score or a time: {len(ablation) - len(points)} of {len(ablation)}."
    return Plot("Score against training time", drawn, caption)


def _classes(comparison: Comparison | None) -> Plot | None:
    gains = list(comparison.class_gains.items()) if comparison else []
    by_change = sorted(gains, key=lambda gain: -abs(gain[1].value))
    shown = gains if len(gains) <= ALL_CLASSES_UP_TO else by_change[:CHANGED_CLASSES]
    if not shown:
        return None
    rows = [difference_of(name, gain) for name, gain in sorted(shown, key=lambda gain: -gain[1].value)]
    drawn = differences("Gain by class", rows, label="recall, distilled minus alone (points)")
    caption = f"{_PALE}."
    if len(gains) >= 10:
        caption += f" Of {len(gains)} classes about {len(gains) // 10} would seem sure by chance alone."
    if len(shown) < len(gains):
        caption += f" Shown are the {len(shown)} of {len(gains)} classes that changed most."
    return Plot("Gain by class", drawn, caption)


def _seconds(value: float, place: str) -> Number:
    return Number(value=value, unit="s", word="measured", place=place)
