"""What the teacher was worth: gains of the student over the control, over seeds and folds.

Every interval is at level 0.9 and covers one source of chance, which the docstring names; none covers all.
"""

from collections.abc import Sequence

import numpy as np

from edgekd.figures import Number, Role
from edgekd.judgement import AblationRow, Comparison, FoldResult, Judgement, PairedResult, SeedResult
from edgekd.places.intervals import student_interval
from edgekd.tasks.intervals import LEVEL


def judgement(
    *,
    seeds: Sequence[SeedResult] = (),
    ablation: Sequence[AblationRow] = (),
    folds: Sequence[FoldResult] = (),
    comparison: Comparison | None = None,
) -> Judgement:
    """Gather what was found and add the figures over seeds and folds."""
    return Judgement(
        seeds=tuple(seeds),
        seed_scores=mean_scores(seeds),
        gain_over_seeds=over_repeats([run.gain for run in seeds]),
        gap_recovered=gap_recovered(seeds),
        ablation=tuple(ablation),
        folds=tuple(folds),
        gain_over_folds=gain_over_folds(folds),
        comparison=comparison,
    )


def over_repeats(numbers: Sequence[Number], *, widen: float = 1.0) -> Number | None:
    """Mean of k repeats with the interval of Student's t times `widen`; None for fewer than two, `n` is k.

    The interval covers the choice of seed, not of samples, which all repeats share. Repeats that are equal to the last
    digit do not tell their scatter; then there is no interval rather than one without width.
    """
    if len(numbers) < 2:
        return None
    values = [number.value for number in numbers]
    mean, low, high = student_interval(values, level=LEVEL)
    first = numbers[0].model_copy(update={"value": mean, "level": LEVEL, "n": len(values), "low": None, "high": None})
    if len(set(values)) == 1:
        return first
    ends = {"low": mean - widen * (mean - low), "high": mean + widen * (high - mean)}
    return first.model_copy(update=ends)


def mean_scores(runs: Sequence[PairedResult]) -> dict[Role, Number]:
    """Mean score of teacher, control and student over two or more runs; a teacher that never changed keeps its own."""
    if len(runs) < 2:
        return {}
    fixed = len({run.teacher.value for run in runs}) == 1
    found: dict[Role, Number | None] = {
        "teacher": runs[0].teacher if fixed else over_repeats([run.teacher for run in runs]),
        "control": over_repeats([run.control for run in runs]),
        "student": over_repeats([run.student for run in runs]),
    }
    return {role: _within_scores(number) for role, number in found.items() if number is not None}


def _within_scores(number: Number) -> Number:
    """The same with an interval that ends where scores do, at 0 and 1, which Student's t does not know of."""
    if number.low is None or number.high is None:
        return number
    return number.model_copy(update={"low": max(0.0, number.low), "high": min(1.0, number.high)})


def gain_over_folds(folds: Sequence[FoldResult]) -> Number | None:
    """Mean gain over k folds; its interval covers the choice of samples.

    Any two trainings share most of their samples, so the plain t interval is too narrow: Nadeau and Bengio, Inference
    for the Generalization Error, 2003, replace 1 / k by 1 / k + n_test / n_train, which is 1 / (k - 1) for k folds.
    """
    k = len(folds)
    return over_repeats([run.gain for run in folds], widen=(1 + k / (k - 1)) ** 0.5) if k > 1 else None


def gap_recovered(runs: Sequence[PairedResult]) -> Number | None:
    """Sum of gains over sum of gaps (teacher minus control): 1 where the student equals the teacher, unit "share".

    None where the control is not below the teacher, or not by more than seeds scatter. The interval is the ratio
    estimator's linearised one with Student's t (Cochran, Sampling Techniques, 1977, section 6.4); none for one run.
    """
    gains = np.array([run.gain.value for run in runs])
    gaps = np.array([run.teacher.value - run.control.value for run in runs])
    if not runs or gaps.mean() <= 0 or (len(runs) > 1 and student_interval(gaps, level=LEVEL)[1] <= 0):
        return None
    share = float(gains.mean() / gaps.mean())
    found = runs[0].gain.model_copy(
        update={"value": share, "low": None, "high": None, "level": LEVEL, "unit": "share", "n": len(runs)}
    )
    residuals = (gains - share * gaps) / gaps.mean()
    if len(runs) < 2 or np.ptp(residuals) < 1e-12:
        return found
    _, low, high = student_interval(residuals, level=LEVEL)
    return found.model_copy(update={"low": share + low, "high": share + high})
