"""Everything a run found out, as the one record that the report is rendered from. Pure: records in, a record out."""

from dataclasses import dataclass
from typing import Any

from edgekd.budget import judge, load_time, parse_budgets, verdict
from edgekd.device import DeviceProfile
from edgekd.figures import Figures
from edgekd.places.environment import environment
from edgekd.recipe import Recipe
from edgekd.rendering.outline import shipped_as
from edgekd.rendering.text import quantity
from edgekd.results import (
    EXIT_CODES,
    MOST_CONFUSED,
    BudgetOutcome,
    Candidate,
    ConfusedPair,
    Confusion,
    DeviceEstimate,
    Parity,
    Report,
    SourceModel,
    Verdict,
)
from edgekd.stages.benchmark import Benchmarked
from edgekd.stages.choose import Choice
from edgekd.stages.configure import Configured
from edgekd.stages.distill import Distilled
from edgekd.stages.export import Exports
from edgekd.stages.load import Loaded
from edgekd.stages.package import Packaged
from edgekd.stages.quantize import Quantized
from edgekd.tasks.table import find_task
from edgekd.version import __version__


@dataclass(frozen=True)
class RunFacts:
    """The results of every stage of one run, and how it was called."""

    plan: Recipe
    profile: DeviceProfile
    fallbacks: tuple[str, ...]
    command: str
    environment: dict[str, Any]
    loaded: Loaded
    distilled: Distilled
    exports: Exports
    quantized: Quantized
    benchmarked: Benchmarked
    choice: Choice
    configured: Configured
    packaged: Packaged
    seconds: dict[str, float]
    devices: tuple[DeviceEstimate, ...] = ()
    finished: str | None = None


def manifest_of(plan: Recipe, loaded: Loaded, target: str) -> dict[str, Any]:
    """What an artifact says it was made from: the model that came in, the splits, the recipe, and versions."""
    return {
        "model": {"path": str(plan.model), "sha256": loaded.sha256},
        "data": loaded.manifest.model_dump(mode="json") if loaded.manifest else None,
        "score_name": loaded.score_name,
        "target": target,
        "recipe": plan.model_dump(mode="json", exclude_defaults=True),
        "versions": environment()["versions"],
    }


def assemble_report(facts: RunFacts) -> Report:
    """Judge the budgets and gather every figure, reason, fallback and gap of the run."""
    chosen = facts.configured.chosen.model_copy(update={"size_kib": facts.packaged.size_kib})
    models = facts.benchmarked.models
    shipped = Figures(**{name: getattr(chosen, name) for name in Figures.model_fields})
    outcomes = judge(
        (*parse_budgets(facts.plan.budget), *parse_budgets(facts.plan.warn, severity="warn")),
        shipped,
        models.get("teacher"),
        target=facts.profile.name,
        allow_estimate=facts.plan.allow_estimate,
        load_ms=load_time(shipped),
    )
    decided = verdict(outcomes)
    return Report(
        schema=1,
        edgekd=__version__,
        verdict=decided,
        exit_code=EXIT_CODES[decided],
        headline=_headline(decided, outcomes, chosen, facts),
        target=facts.profile.name,
        model=SourceModel(path=str(facts.plan.model), sha256=facts.loaded.sha256),
        splits=facts.loaded.manifest.model_dump(mode="json") if facts.loaded.manifest else None,
        seed=facts.plan.seed,
        command=facts.command,
        environment=facts.environment,
        recipe=facts.plan.model_dump(mode="json", exclude_defaults=True),
        score_name=facts.loaded.score_name,
        synthesised=facts.loaded.synthesised,
        classes=facts.loaded.classes or (),
        models={
            "teacher": models.get("teacher"),
            "control": models.get("control"),
            "student": models.get("student"),
            "shipped": shipped,
        },
        candidates=tuple(chosen if c.chosen else c for c in facts.choice.candidates),
        files=facts.quantized.files,
        skipped=facts.quantized.skipped,
        ladder=facts.quantized.ladder,
        sessions=facts.configured.trials,
        budgets=outcomes,
        distillation=facts.distilled.distillation,
        judgement=facts.distilled.judgement,
        parity=_parity(facts.exports),
        per_class=_per_class(facts, chosen),
        per_class_name=find_task(facts.loaded.task).per_class_name,
        confusion=_confusion(facts, chosen),
        latency_by_operator=facts.benchmarked.latency_by_operator.get(chosen.id, {}),
        devices=facts.devices,
        artifact=facts.packaged.files,
        seconds=facts.seconds,
        finished=facts.finished,
        fallbacks=_fallbacks(facts),
        warnings=_warnings(facts),
        unknown=_unknown(facts, chosen),
    )


def _headline(decided: Verdict, outcomes: tuple[BudgetOutcome, ...], chosen: Candidate, facts: RunFacts) -> str:
    """What a person reads first: what ships, how large and fast it is, and whether that is within the budgets."""
    latency = chosen.latency_p50_ms
    speed = f", {quantity(latency.value, latency.unit)} on {facts.profile.title} ({latency.word})" if latency else ""
    what = f"Shipped: {shipped_as(facts.distilled.shipped, chosen)}, {quantity(chosen.size_kib, 'KiB')}{speed}"
    missed = sum(o.verdict == "missed" and o.severity == "error" for o in outcomes)
    verdicts: dict[Verdict, str] = {
        "pass": _met(outcomes),
        "missed": f"{missed} of {len(outcomes)} budget{'s' * (len(outcomes) > 1)} missed",
        "inconclusive": "a budget could not be decided",
    }
    missing = "" if facts.loaded.manifest else "No data were given, so nothing was scored. "
    if facts.loaded.manifest and not facts.loaded.labelled:
        what_for = (
            "data were given, so inputs were synthesised, and" if facts.loaded.synthesised else "labels were given, so"
        )
        missing = f"No {what_for} scores are {facts.loaded.score_name} with the teacher. "
    return f"{missing}{what}; {verdicts[decided]}"


def _met(outcomes: tuple[BudgetOutcome, ...]) -> str:
    warned = sum(o.severity == "warn" and o.verdict != "pass" for o in outcomes)
    if warned:
        return f"every budget is met but {warned} that only warn{'s' * (warned == 1)}"
    return "every budget is met" if outcomes else "no budgets were set"


def _per_class(facts: RunFacts, chosen: Candidate) -> dict[str, dict[str, float]]:
    found = {}
    for index, recalls in facts.benchmarked.per_class.items():
        name = _class_name(facts, int(index))
        kept = {who: value for who, value in recalls.items() if who in ("teacher", "control", "student")}
        if chosen.id in recalls:
            kept["shipped"] = recalls[chosen.id]
        found[name] = kept
    return found


def _confusion(facts: RunFacts, chosen: Candidate) -> Confusion | None:
    """What shipped takes for what. Where the list of the teacher's mistakes is full, what it lacks is not known."""
    if not facts.benchmarked.test_samples:
        return None
    mistakes = facts.benchmarked.mistakes.get(chosen.id, ())
    listed = facts.benchmarked.mistakes.get("teacher", ())
    of_teacher = {(label, answer): count for label, answer, count in listed}
    otherwise = 0 if "teacher" in facts.benchmarked.models and len(listed) < MOST_CONFUSED else None
    pairs = [
        ConfusedPair(
            truth=_class_name(facts, label),
            answer=_class_name(facts, answer),
            shipped=count,
            teacher=of_teacher.get((label, answer), otherwise),
        )
        for label, answer, count in mistakes
    ]
    samples = facts.benchmarked.test_samples.items()
    return Confusion(samples={_class_name(facts, int(index)): count for index, count in samples}, pairs=tuple(pairs))


def _class_name(facts: RunFacts, index: int) -> str:
    names = facts.loaded.classes or ()
    return names[index] if index < len(names) else str(index)


def _parity(exports: Exports) -> tuple[Parity, ...]:
    return tuple(
        parity.model_copy(update={"output": f"{who}: {parity.output}"})
        for who, model in exports.models.items()
        for parity in model.parity
    )


def _fallbacks(facts: RunFacts) -> tuple[str, ...]:
    """Whatever was done otherwise than asked or usual."""
    exported = (f"{model.file}: {note}" for model in facts.exports.models.values() for note in model.notes)
    return tuple(dict.fromkeys((*facts.fallbacks, *facts.distilled.notes, *exported, *facts.benchmarked.notes)))


def _warnings(facts: RunFacts) -> tuple[str, ...]:
    host = facts.configured.chosen.host
    disturbed = host.disturbed if host else ()
    return (
        *facts.loaded.notes,
        *facts.quantized.notes,
        *facts.choice.warnings,
        *facts.packaged.notes,
        *(f"the benchmark here was disturbed: {what}" for what in disturbed),
    )


def _unknown(facts: RunFacts, chosen: Candidate) -> tuple[str, ...]:
    """What this run could not find out, so that nobody takes its silence for an answer."""
    lines = []
    if facts.profile.name != "host":
        counted = chosen.instructions
        known = "its latency and memory are estimates"
        if counted:
            known = f"its latency is made from instructions counted on {counted.place}, its memory is an estimate"
        lines.append(f"Nothing ran on a {facts.profile.title}: {known}, and its median and tail are not told apart.")
        elsewhere = [c for c in facts.choice.candidates if c.scored_on]
        if elsewhere:
            names = ", ".join(c.id for c in elsewhere)
            lines.append(
                f"The score of {names} was taken on {elsewhere[0].scored_on}, whose integer kernels round otherwise "
                f"than those of the {facts.profile.core}; what it is there is not known."
            )
        if chosen.score is not None and chosen.score.word == "emulated":
            lines.append("Shares by class are as this machine's kernels compute them, not the target's.")
        if any(one.taken and one.session for one in facts.configured.trials):
            lines.append(
                f"The session options were found on this machine, not on a {facts.profile.title}; there they may gain "
                "less or cost time."
            )
    if facts.loaded.score_name is None:
        lines.append("No score is known, because no data were given.")
    if facts.distilled.distillation and facts.distilled.distillation.gain is None:
        lines.append("What the teacher was worth is not known, because no control was trained.")
    elif facts.distilled.distillation:
        lines.append("The gain comes from one seed; its interval covers the choice of samples, not of seeds.")
    return tuple(lines)
