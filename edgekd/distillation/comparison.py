"""How like the teacher a student became: agreement, KL, calibration, inherited mistakes, gains by class.

Logits are float (n, classes) over the same n test samples in the same order, labels are class indices (n,). Intervals
are at level 0.9 and cover the choice of samples.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.figures import Number, Role
from edgekd.judgement import Comparison, Fidelity
from edgekd.places.intervals import student_interval
from edgekd.tasks.classification import CLASSIFICATION, Labels, Logits, correct, expected_calibration_error, predicted
from edgekd.tasks.intervals import DRAWS, LEVEL, TAIL, paired_difference, score_number
from edgekd.tasks.task import Outputs, Task, Truth

Outcomes = npt.NDArray[np.int64]
RIGHT, OWN_MISTAKE, INHERITED = 0, 1, 2


def compare(
    task: Task,
    outputs: Mapping[Role, Outputs],
    truth: Truth,
    *,
    classes: Sequence[str] = (),
    cka: Mapping[Role, Mapping[str, float]] | None = None,
    place: str = "host",
) -> Comparison:
    """Hold control, student and what shipped, as far as there are outputs of them, against the teacher.

    Args:
        outputs: by role, "teacher" among them, each (n, ...) over the same n test samples in the same order.
        truth: labels (n, ...) of those samples.
        classes: name of each class; its index stands in where there are none.
        cka: by role, linear CKA by pair of layers, as found on features.
    """
    teacher = outputs["teacher"]
    fidelity: dict[Role, Fidelity] = {
        role: Fidelity(
            agreement=score_number(task, task.statistics(found, task.truth_of(teacher)), place),
            cka=dict((cka or {}).get(role, {})),
        )
        for role, found in outputs.items()
        if role != "teacher"
    }
    comparison = Comparison(fidelity=fidelity)
    if task.name != CLASSIFICATION.name:
        return comparison
    return comparison.model_copy(update=_of_classes(outputs, truth, fidelity, classes=classes, place=place))


def _of_classes(
    logits: Mapping[Role, Logits],
    labels: Labels,
    fidelity: Mapping[Role, Fidelity],
    *,
    classes: Sequence[str],
    place: str,
) -> dict[str, Any]:
    """What a comparison has of classifiers alone."""
    teacher = logits["teacher"]
    outcomes = {role: outcomes_of(logits[role], teacher, labels) for role in fidelity}
    found: dict[str, Any] = {
        "fidelity": {
            role: one.model_copy(
                update={
                    "kl": mean_kl(teacher, logits[role], place=place),
                    "inherited_mistakes": inherited_mistakes(outcomes[role], place=place),
                }
            )
            for role, one in fidelity.items()
        },
        "expected_calibration_error": {role: expected_calibration_error(one, labels) for role, one in logits.items()},
    }
    if "student" in outcomes and "control" in outcomes:
        found["inherited_excess"] = inherited_excess(outcomes["student"], outcomes["control"], place=place)
        found["class_gains"] = class_gains(logits["student"], logits["control"], labels, classes=classes, place=place)
    return found


def mean_kl(teacher: Logits, model: Logits, *, place: str = "host") -> Number | None:
    """Mean KL(softmax(teacher) || softmax(model)) over samples in nats, with the interval of Student's t over samples.

    None where it is not finite: a NaN, or a class that the teacher thinks possible and the model does not.
    """
    wanted, given = _log_softmax(teacher), _log_softmax(model)
    with np.errstate(invalid="ignore"):
        terms = np.where(np.isneginf(wanted), 0.0, np.exp(wanted) * (wanted - given))
    rows = terms.sum(axis=1)
    if not np.isfinite(rows).all():
        return None
    value, low, high = student_interval(rows, level=LEVEL) if len(rows) > 1 else (float(rows.mean()), None, None)
    floor = None if low is None else max(0.0, low)
    return Number(
        value=max(0.0, value), low=floor, high=high, level=LEVEL, unit="nats", word="measured", place=place, n=len(rows)
    )


def outcomes_of(model: Logits, teacher: Logits, labels: Labels) -> Outcomes:
    """RIGHT, OWN_MISTAKE, or INHERITED where the model gives the teacher's own wrong class, by sample: int64 (n,)."""
    guess = predicted(model)
    mistake = np.where((guess == predicted(teacher)) & (guess >= 0), INHERITED, OWN_MISTAKE)
    return np.where(guess == labels, RIGHT, mistake)


def inherited_mistakes(outcomes: Outcomes, *, place: str = "host") -> Number | None:
    """Share of the mistakes among `outcomes` (n,) that were inherited, over samples; None without a mistake."""
    mistakes = outcomes[outcomes != RIGHT]
    if not len(mistakes):
        return None
    return score_number(CLASSIFICATION, mistakes == INHERITED, place).model_copy(update={"unit": "share"})


def inherited_excess(student: Outcomes, control: Outcomes, *, place: str = "host", seed: int = 0) -> Number | None:
    """Share of inherited mistakes, student minus control; the interval is a paired bootstrap over samples.

    Hard samples mislead any two models alike, so the control, which never met the teacher, has a share as well; only
    what exceeds it came from the teacher. None where either makes no mistake.
    """
    if not (student.any() and control.any()):
        return None
    n = len(student)
    cells = np.bincount(3 * student + control, minlength=9)
    drawn = np.random.default_rng(seed).multinomial(n, cells / n, DRAWS).reshape(DRAWS, 3, 3)
    with np.errstate(invalid="ignore"):
        differences = _share(drawn.sum(axis=2)) - _share(drawn.sum(axis=1))
    low, high = np.nanquantile(differences, [TAIL, 1 - TAIL])
    counts = cells.reshape(1, 3, 3)
    return Number(
        value=float((_share(counts.sum(axis=2)) - _share(counts.sum(axis=1)))[0]),
        low=float(low),
        high=float(high),
        level=LEVEL,
        unit="fraction",
        word="measured",
        place=place,
        n=n,
    )


def class_gains(
    student: Logits, control: Logits, labels: Labels, *, classes: Sequence[str] = (), place: str = "host"
) -> dict[str, Number]:
    """Recall of the student minus the control's by class, paired over its samples; a class without any is left out.

    Where resampling would claim certainty (the two never differ, or on every sample alike) there is no interval.
    """
    hits, base = correct(student, labels), correct(control, labels)
    found = {}
    for index in np.unique(labels):
        name = classes[index] if index < len(classes) else str(index)
        inside = labels == index
        gain = paired_difference(CLASSIFICATION, hits[inside], base[inside], place)
        unsure = {"low": None, "high": None} if gain.low == gain.high else {}
        found[name] = gain.model_copy(update={"unit": "fraction", **unsure})
    return found


def _share(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Inherited among all mistakes, of counts (draws, 3) by outcome: (draws,), NaN where there are none."""
    return np.asarray(counts[:, INHERITED] / (counts[:, OWN_MISTAKE] + counts[:, INHERITED]))


def _log_softmax(logits: Logits) -> npt.NDArray[np.float64]:
    values = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        shifted = values - values.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
