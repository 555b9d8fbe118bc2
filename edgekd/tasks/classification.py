"""Image classification: how logits are scored against labels, with intervals. Numpy only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.results import Number

Logits = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]
Correct = npt.NDArray[np.bool_]

LEVEL = 0.9
DRAWS = 10_000
CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Task:
    """How predictions of one kind are scored.

    correct: (logits (n, classes), labels (n,)) to bool (n,).
    metrics: (logits (n, classes), labels (n,)) to raw metrics by name, each 0..1.
    """

    name: str
    score_name: str
    correct: Callable[[Logits, Labels], Correct]
    metrics: Callable[[Logits, Labels], dict[str, float]]


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
    """Share of images whose label is among the five largest logits; of equal logits the lower index counts first."""
    best = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    hits = (best == labels[:, None]).any(axis=1) & (predicted(logits) >= 0)
    return float(hits.mean())


def expected_calibration_error(logits: Logits, labels: Labels, bins: int = CALIBRATION_BINS) -> float:
    """Mean distance of confidence and accuracy over equal-width bins of confidence, weighted by images, 0..1.

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
    """Share of each class's images that were hit: float64 (classes,), NaN for a class without images."""
    classes = logits.shape[1]
    hits = np.bincount(labels, weights=correct(logits, labels), minlength=classes)
    images = np.bincount(labels, minlength=classes)
    return np.asarray(np.divide(hits, images, out=np.full(classes, np.nan), where=images > 0))


def agreement(student_logits: Logits, teacher_logits: Logits) -> float:
    """Share of n images for which student and teacher predict the same class, 0..1."""
    return accuracy(student_logits, predicted(teacher_logits))


def metrics(logits: Logits, labels: Labels) -> dict[str, float]:
    """accuracy, balanced_accuracy (mean recall), expected_calibration_error; top5 where there are over 5 classes."""
    found = {
        "accuracy": accuracy(logits, labels),
        "balanced_accuracy": float(np.nanmean(per_class_recall(logits, labels))),
        "expected_calibration_error": expected_calibration_error(logits, labels),
    }
    return found | ({"top5": top5(logits, labels)} if logits.shape[1] > 5 else {})


def bootstrap_interval(hits: Correct, level: float = LEVEL, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap of the mean of hits (n,), over images: (low, high) at `level`.

    Resampling n hits and counting them is a binomial draw, so no images are copied. Where all are alike, resampling
    would claim certainty; there the far end is the exact binomial bound (Clopper and Pearson, 1934).
    """
    n, share = len(hits), float(np.mean(hits))
    tail = (1 - level) / 2
    low, high = np.quantile(np.random.default_rng(seed).binomial(n, share, DRAWS) / n, [tail, 1 - tail])
    if share == 1.0:
        low = tail ** (1 / n)
    if share == 0.0:
        high = 1 - tail ** (1 / n)
    return float(low), float(high)


def score_number(hits: Correct, place: str, *, seed: int = 0) -> Number:
    """The share of hits (n,) as a measured figure with its interval."""
    low, high = bootstrap_interval(hits, seed=seed)
    return Number(
        value=float(np.mean(hits)),
        low=low,
        high=high,
        level=LEVEL,
        unit="score",
        word="measured",
        place=place,
        n=len(hits),
    )


def paired_difference(a: Correct, b: Correct, place: str = "host", *, seed: int = 0) -> Number:
    """Score of `a` minus score of `b`, both bool (n,) over the same images, with a paired bootstrap interval.

    Only images on which the two differ move it; where there are none, the interval has no width.
    """
    n = len(a)
    won, lost = int((a & ~b).sum()), int((b & ~a).sum())
    drawn = np.random.default_rng(seed).multinomial(n, [won / n, lost / n, (n - won - lost) / n], DRAWS)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / n, [tail, 1 - tail])
    return Number(
        value=(won - lost) / n,
        low=float(low),
        high=float(high),
        level=LEVEL,
        unit="score",
        word="measured",
        place=place,
        n=n,
    )


def chance(labels: Labels, classes: int) -> float:
    """What guessing earns, 0..1: the share of the most frequent class, and at least 1 / classes."""
    return max(1 / classes, float(np.bincount(labels).max()) / len(labels))


def near_chance(score: float, labels: Labels, classes: int) -> str | None:
    """Say so where a teacher's score is no better than guessing, by three standard errors of a guess; else None.

    On a handful of images three standard errors may exceed what a perfect model can earn; half-way from chance to
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


CLASSIFICATION = Task("classification", "accuracy", correct, metrics)
FIDELITY = Task("fidelity", "agreement", correct, metrics)
"""Unlabelled data: the labels are what the teacher predicts."""

TASKS = {task.name: task for task in (CLASSIFICATION, FIDELITY)}
