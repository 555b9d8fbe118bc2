"""The same student with and without its teacher, over several seeds: what the teacher was worth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgekd.data.split import Split
from edgekd.distillation.contest import Contest, Entry, enter, seeded
from edgekd.judgement import SeedResult
from edgekd.losses.table import OUTPUT_LOSSES
from edgekd.tasks.intervals import paired_difference, score_number
from edgekd.tasks.task import Outputs
from edgekd.training.evaluate import predict_outputs
from edgekd.training.plan import Plan, without_features

HERE = "host"


@dataclass(frozen=True)
class Bout:
    """One seed's student and, where there are labels and it was asked for, its control."""

    seed: int
    student: Entry
    control: Entry | None


def settle_features(contest: Contest) -> tuple[Contest, tuple[str, ...]]:
    """Return the contest without losses between layers where these lose on validation, and a sentence about it.

    Between unlike architectures such a loss can cost more than the teacher gives: 5 to 6 points of MobileNetV2 under a
    VGG-13 on CIFAR-100, by RepDistiller's table.
    """
    plain = without_features(contest.plan)
    if plain.losses == contest.plan.losses:
        return contest, ()
    if not any(loss.name in OUTPUT_LOSSES for loss in plain.losses):
        return contest, ("losses between layers were not compared with any other, because no other is asked for",)
    matched = enter(contest, _called(contest.plan), taught=True)
    unmatched = enter(contest, _called(plain), taught=True, plan=plain)
    named = ", ".join(loss.name for loss in contest.plan.losses if loss not in plain.losses)
    scores = f"{100 * matched.trained.score:.2f} % on validation, and {100 * unmatched.trained.score:.2f} % without"
    if matched.trained.score >= unmatched.trained.score:
        return contest, (f"{named}: {scores}",)
    return replace(contest, plan=plain), (f"{named} was dropped, because it loses: {scores}",)


def train_bouts(contest: Contest, seeds: int, *, judged: bool) -> tuple[Bout, ...]:
    """Train student and control for each of `seeds` seeds; those of one seed differ in nothing but the loss."""
    bouts = []
    for offset in range(seeds):
        plan, suffix = seeded(contest.plan, offset), f"-{offset}" if offset else ""
        if offset and contest.fresh is not None:
            contest = replace(contest, student=contest.fresh(offset))
        student = enter(contest, f"{_called(plan)}{suffix}", taught=True, plan=plan)
        control = enter(contest, f"control{suffix}", taught=False, plan=plan) if judged else None
        bouts.append(Bout(plan.seed, student, control))
    return tuple(bouts)


def _called(plan: Plan) -> str:
    """With losses between layers and without, a student has two names: so both are trained once, whichever goes on."""
    return "student-matched" if plan.pairs else "student"


def outputs_on(contest: Contest, entry: Entry, split: Split) -> Outputs:
    """What an entry says of every sample of a split, in float32: (n, ...)."""
    task = contest.data.task
    return predict_outputs(entry.module, split, contest.data.preprocessing, every_output=task.every_output)


def score_seeds(contest: Contest, bouts: Sequence[Bout], test: Split, teacher: Outputs) -> tuple[SeedResult, ...]:
    """Score every judged bout on the test split, where `teacher` is what the teacher says of it: (n, ...)."""
    task, truth = contest.data.task, test.labels
    if truth is None:
        return ()
    results = []
    for bout in bouts:
        if bout.control is None:
            continue
        said = (teacher, outputs_on(contest, bout.student, test), outputs_on(contest, bout.control, test))
        taught, student, control = (task.statistics(outputs, truth) for outputs in said)
        results.append(
            SeedResult(
                seed=bout.seed,
                teacher=score_number(task, taught, HERE),
                control=score_number(task, control, HERE),
                student=score_number(task, student, HERE),
                gain=paired_difference(task, student, control),
                steps=bout.student.trained.steps,
                seconds=bout.student.trained.seconds + bout.control.trained.seconds,
            )
        )
    return tuple(results)
