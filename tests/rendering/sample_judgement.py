"""What the teacher was worth, for `sample_report.py`: invented, but consistent with it."""

from typing import Any

from edgekd.distillation.judge import judgement
from edgekd.figures import Number
from edgekd.judgement import AblationRow, Comparison, Fidelity, FoldResult, Judgement, SeedResult

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def measured(value: float, unit: str, half: float, n: int = 400) -> Number:
    """A figure measured on the host, `half` to either side."""
    return Number(value=value, low=value - half, high=value + half, unit=unit, word="measured", place="host", n=n)


def judged() -> Judgement:
    """Five seeds, three folds, seven ways to teach of which one broke, and a comparison with the teacher."""
    teacher = measured(0.9339, "score", 0.0041, 10000)

    def pair(control: float, student: float) -> dict[str, Any]:
        scores = {"control": control, "student": student}
        numbers = {name: measured(value, "score", 0.0043, 10000) for name, value in scores.items()}
        gain = measured(student - control, "score", 0.0046, 10000)
        return {"teacher": teacher, **numbers, "gain": gain, "steps": 10_000, "seconds": 1711.0}

    seeds = [(0.9214, 0.9301), (0.9188, 0.9279), (0.9225, 0.9252), (0.9203, 0.9296), (0.9231, 0.9284)]
    folds = [(0.9101, 0.9188), (0.9140, 0.9165), (0.9092, 0.9210)]
    return judgement(
        seeds=[SeedResult(seed=i, **pair(*scores)) for i, scores in enumerate(seeds)],
        folds=[FoldResult(fold=i, **pair(*scores)) for i, scores in enumerate(folds)],
        ablation=ablation(),
        comparison=comparison(),
    )


def ablation() -> tuple[AblationRow, ...]:
    """Scores with the cost of training; "hints" broke."""
    known = {
        "labels only": (0.9210, 1.41, 402_000.0),
        "soft_targets": (0.9247, 2.02, 421_000.0),
        "standardised_logits": (0.9281, 2.04, 421_500.0),
        "decoupled": (0.9275, 2.09, 423_000.0),
        "attention_transfer": (0.9203, 2.71, 540_000.0),
        "the combination": (0.9288, 3.05, 561_000.0),
    }
    rows = []
    for name, (score, seconds, memory) in known.items():
        cost = {"seconds_per_1000_samples": seconds, "peak_memory_kib": memory}
        against = None if name == "labels only" else measured(score - 0.9210, "score", 0.0022, 10000)
        rows.append(AblationRow(name=name, score=measured(score, "score", 0.0043, 10000), difference=against, **cost))
    return (*rows, AblationRow(name="hints", note="diverged three times at step 412"))


def comparison() -> Comparison:
    """The student is nearer to the teacher than the control, in its mistakes too."""

    def likeness(agreement: float, kl: float, mistakes: float, cka: tuple[float, float, float]) -> Fidelity:
        return Fidelity(
            agreement=measured(agreement, "score", 0.004, 10000),
            kl=measured(kl, "nats", 0.008, 10000),
            inherited_mistakes=measured(mistakes, "share", 0.03, 720),
            cka=dict(zip(("layer1 ~ layer1", "layer2 ~ layer2", "layer3 ~ layer3"), cka, strict=True)),
        )

    return Comparison(
        fidelity={
            "control": likeness(0.9312, 0.214, 0.231, (0.912, 0.874, 0.803)),
            "student": likeness(0.9447, 0.118, 0.342, (0.957, 0.921, 0.934)),
        },
        expected_calibration_error={"teacher": 0.0461, "control": 0.0529, "student": 0.0312},
        inherited_excess=measured(0.111, "fraction", 0.034, 10000),
        class_gains={
            title: measured(
                (0.021, -0.006, 0.012, 0.034, 0.004, -0.018, 0.007, 0.0, 0.011, 0.019)[i], "fraction", 0.012
            )
            for i, title in enumerate(CLASSES)
        },
    )


def hostile_judgement(name: str) -> Judgement:
    """The same with `name` for every loss, layer and class, and in notes."""
    found, held = judged(), comparison()
    fidelity = {role: one.model_copy(update={"cka": {name: 0.9}}) for role, one in held.fidelity.items()}
    gains = {name: measured(0.1, "fraction", 0.2)}
    return found.model_copy(
        update={
            "ablation": tuple(row.model_copy(update={"name": name, "note": name}) for row in found.ablation),
            "comparison": held.model_copy(update={"fidelity": fidelity, "class_gains": gains}),
        }
    )
