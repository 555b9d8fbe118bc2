"""What the teacher was worth: the records of the judge, which trains the same student with and without it."""

from edgekd.figures import Number, Role
from edgekd.record import Record


class PairedResult(Record):
    """The student trained with the teacher, and trained alike without it (the control); both scored on unseen samples.

    `gain` is student minus control on the same samples, and its interval covers the choice of samples only."""

    teacher: Number
    control: Number
    student: Number
    gain: Number
    steps: int
    """Steps of either training."""
    seconds: float
    """Wall seconds of both trainings."""


class SeedResult(PairedResult):
    """One seed of initial weights, sample order and augmentation; scored on the test split."""

    seed: int


class FoldResult(PairedResult):
    """One fold of cross-validation, held out from both trainings and scored. A teacher may have been trained on it."""

    fold: int


class AblationRow(Record):
    """One way to teach the same student with the same budget and seed; a training that broke has a note, no score."""

    name: str
    score: Number | None = None
    difference: Number | None = None
    """Score minus that of labels only."""
    seconds_per_1000_samples: float | None = None
    peak_memory_kib: float | None = None
    note: str = ""


class TuningTrial(Record):
    """One short training in the search for settings; its score is on validation."""

    number: int
    settings: dict[str, float]
    score: float | None = None
    ended_early: bool
    best: bool


class Fidelity(Record):
    """How like the teacher's one model's outputs are on test samples. All but agreement and CKA need classes."""

    agreement: Number | None = None
    """The score that the model would have if the teacher were always right."""
    kl: Number | None = None
    """Mean KL(teacher || model) in nats at temperature 1; None where it is not finite."""
    inherited_mistakes: Number | None = None
    """Share of the model's mistakes that give the teacher's own wrong class."""
    cka: dict[str, float] = {}
    """Linear CKA with the teacher's features, 0 to 1, by pair of layers."""


class Comparison(Record):
    """Teacher, student and control on the same test samples, all with the first seed."""

    fidelity: dict[Role, Fidelity] = {}
    expected_calibration_error: dict[Role, float] = {}
    inherited_excess: Number | None = None
    """Share of inherited mistakes, student minus control: the control's share is what hard samples alone explain."""
    class_gains: dict[str, Number] = {}
    """Recall of the student minus that of the control by class name; `n` is the class's test samples."""


class Judgement(Record):
    """What the teacher was worth: the same student with and without it, over seeds, folds and ways to teach."""

    seeds: tuple[SeedResult, ...] = ()
    seed_scores: dict[Role, Number] = {}
    """Mean test score over seeds; the interval covers the choice of seed."""
    gain_over_seeds: Number | None = None
    """Mean gain over seeds with the interval of Student's t; None for a single seed."""
    gap_recovered: Number | None = None
    """Gain as a share of what the control lacks to the teacher; None where it lacks nothing for certain."""
    ablation: tuple[AblationRow, ...] = ()
    folds: tuple[FoldResult, ...] = ()
    gain_over_folds: Number | None = None
    tuning: tuple[TuningTrial, ...] = ()
    comparison: Comparison | None = None
