"""Classification: how logits are scored against labels. Numpy only."""

from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.errors import BadInput
from edgekd.tasks.task import Floats, Outputs, Task, Truth

Logits = Outputs
Labels = npt.NDArray[np.integer[Any]]
Correct = npt.NDArray[np.bool_]

CALIBRATION_BINS = 15
ONE_ANSWER = 0.95
"""Share of unlabelled samples above which a single answer is suspected to come from a broken teacher."""


def predicted(logits: Logits) -> npt.NDArray[np.int64]:
    """Class index of the largest logit, (n,); -1, which is no class, where a logit is NaN."""
    return np.where(np.isnan(logits).any(axis=1), -1, logits.argmax(axis=1))


def correct(logits: Logits, labels: Labels) -> Correct:
    """Which of n predictions hit their label: bool (n,)."""
    return np.asarray(predicted(logits) == labels)


def accuracy(logits: Logits, labels: Labels) -> float:
    """Share of hits, 0..1."""
    return float(correct(logits, labels).mean())


def top5(logits: Logits, labels: Labels) -> float:
    """Share of samples whose label is among the five largest logits; of equal logits the lower index counts first."""
    best = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    hits = (best == labels[:, None]).any(axis=1) & (predicted(logits) >= 0)
    return float(hits.mean())


def expected_calibration_error(logits: Logits, labels: Labels, bins: int = CALIBRATION_BINS) -> float:
    """Mean distance of confidence and accuracy over equal-width bins of confidence, weighted by samples, 0..1.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017, equation 3, with 15 bins as there. A row with a
    NaN counts as a miss of no confidence.
    """
    finite = np.nan_to_num(logits.astype(np.float64))
    confidence = 1 / np.exp(finite - finite.max(axis=1, keepdims=True)).sum(axis=1)
    confidence = np.where(np.isnan(logits).any(axis=1), 0.0, confidence)
    hits = correct(logits, labels)
    edges = np.linspace(0, 1, bins + 1)
    inside = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    gaps = np.bincount(inside, weights=hits - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def per_class_recall(logits: Logits, labels: Labels) -> npt.NDArray[np.float64]:
    """Share of each class's samples that were hit: float64 (classes,), NaN for a class without samples."""
    classes = logits.shape[1]
    hits = np.bincount(labels, weights=correct(logits, labels), minlength=classes)
    samples = np.bincount(labels, minlength=classes)
    return np.asarray(np.divide(hits, samples, out=np.full(classes, np.nan), where=samples > 0))


def mistakes(logits: Logits, labels: Labels) -> npt.NDArray[np.int64]:
    """Rows of label, answer and how many samples, (pairs, 3), the most frequent first; a NaN answers nothing."""
    answers = predicted(logits)
    missed = (answers != labels) & (answers >= 0)
    pairs, counts = np.unique(np.stack([labels[missed], answers[missed]], axis=1), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return np.asarray(np.column_stack([pairs[order], counts[order]]), np.int64)


def agreement(student_logits: Logits, teacher_logits: Logits) -> float:
    """Share of n samples for which student and teacher predict the same class, 0..1."""
    return accuracy(student_logits, predicted(teacher_logits))


def macro(logits: Logits, labels: Labels) -> tuple[float, float, float]:
    """Precision, recall and F1, each the plain mean over the classes that occur among labels or answers.

    A class that is never answered has precision 0, as in scikit-learn with `zero_division=0`.
    """
    classes = logits.shape[1]
    answers, hits = predicted(logits), correct(logits, labels)
    true = np.bincount(labels[hits], minlength=classes).astype(np.float64)
    answered = np.bincount(answers[answers >= 0], minlength=classes)
    samples = np.bincount(labels, minlength=classes)
    occurs = (answered + samples) > 0
    shares = (
        true / np.maximum(answered, 1),
        true / np.maximum(samples, 1),
        2 * true / np.maximum(answered + samples, 1),
    )
    precision, recall, f1 = (float(share[occurs].mean()) for share in shares)
    return precision, recall, f1


def metrics(logits: Logits, labels: Labels) -> dict[str, float]:
    """accuracy, balanced_accuracy (mean recall of the classes there are), precision, recall and f1 (`macro`),
    expected_calibration_error; top5 where there are over 5 classes."""
    precision, recall, f1 = macro(logits, labels)
    found = {
        "accuracy": accuracy(logits, labels),
        "balanced_accuracy": float(np.nanmean(per_class_recall(logits, labels))),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "expected_calibration_error": expected_calibration_error(logits, labels),
    }
    return found | ({"top5": top5(logits, labels)} if logits.shape[1] > 5 else {})


def statistics(logits: Logits, labels: Truth) -> Floats:
    """1 for a hit and 0 for a miss, (n, 1)."""
    return correct(logits, labels).astype(np.float64)[:, None]


def score(mean_statistics: Floats) -> Floats:
    """The share of hits."""
    return np.asarray(mean_statistics[..., 0])


def chance(labels: Labels, classes: int) -> float:
    """What guessing earns, 0..1: the share of the most frequent class, and at least 1 / classes."""
    return max(1 / classes, float(np.bincount(labels).max()) / len(labels))


def near_chance(score: float, labels: Labels, classes: int) -> str | None:
    """Say so where a teacher's score is no better than guessing, by three standard errors of a guess; else None.

    On a handful of samples three standard errors may exceed what a perfect model can earn; half-way from chance to
    perfect is always enough.
    """
    guess = chance(labels, classes)
    margin = min(3 * float(np.sqrt(guess * (1 - guess) / len(labels))), (1 - guess) / 2)
    if score > guess + margin or guess == 1.0:
        return None
    return (
        f"teacher scores {100 * score:.1f} %, chance is {100 * guess:.3g} %: "
        "weights not loaded, wrong normalisation or wrong class order?"
    )


def doubt(logits: Logits) -> str | None:
    """Without labels nobody can tell a broken teacher by its score, but one that says the same of everything shows."""
    answers = np.bincount(np.maximum(predicted(logits), 0))
    share = float(answers.max() / len(logits))
    if share <= ONE_ANSWER:
        return None
    return (
        f"The teacher puts {100 * share:.1f} % of the unlabelled samples into class {int(answers.argmax())}: unless "
        "that is so, its weights or normalisation are wrong, and agreement with it says little."
    )


def check(shape: tuple[int, ...], labels: Truth | None) -> None:
    """Refuse outputs that are no logits (batch, classes), and labels (n,) that have none. Raises BadInput."""
    if len(shape) != 2:
        raise BadInput(
            f"the model gives outputs of shape {shape[1:]} per sample, where a classifier gives logits (classes,); for "
            "other models give float labels, or none with --task generic"
        )
    if shape[1] < 2:
        raise BadInput(
            f"the model has {shape[1]} output; a classifier has one for each class, so at least 2 (a yes-or-no model "
            "of one output z becomes one with the logits 0 and z); where labels are numbers, store them as floats"
        )
    if labels is not None and len(labels) and int(labels.max()) >= shape[1]:
        raise BadInput(
            f"labels go up to {int(labels.max())}, but the model has {shape[1]} outputs; data and model must have the "
            "same classes in the same order"
        )


CLASSIFICATION = Task(
    name="classification",
    score_name="accuracy",
    fidelity_name="agreement",
    label_loss="cross_entropy",
    distill_loss="standardised_logits",
    output="logits",
    truth_of=predicted,
    statistics=statistics,
    score=score,
    metrics=metrics,
    chance=chance,
    near_chance=near_chance,
    doubt=doubt,
    check=check,
    per_class=per_class_recall,
    mistakes=mistakes,
)
