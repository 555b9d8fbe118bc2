"""Each loss on its own, and the combination, against labels alone: by score and by what it costs."""

import logging
from collections.abc import Iterator

from edgekd.data.split import Split
from edgekd.distillation.contest import Contest, Entry, enter
from edgekd.distillation.seeds import HERE, outputs_on
from edgekd.errors import BadInput
from edgekd.judgement import AblationRow
from edgekd.losses.table import LABELS, WeightedLoss
from edgekd.tasks.intervals import paired_difference, score_number
from edgekd.tasks.task import Floats, Task
from edgekd.training.loop import Trained
from edgekd.training.plan import Plan

log = logging.getLogger(__name__)

LABELS_ONLY, COMBINATION = "labels only", "the combination"


def ablate(contest: Contest, *, student: Entry, control: Entry, test: Split) -> tuple[AblationRow, ...]:
    """Train the student with each loss of the plan alone beside the labels, and score all on the test split.

    `student` was trained with all losses and `control` with none. A training that diverges becomes a row that says so.
    """
    alone = _statistics(contest, control, test)
    rows = [_row(contest.data.task, LABELS_ONLY, control.trained, alone)]
    singles = list(single_losses(contest.plan))
    if not singles:
        return tuple(rows)
    for name, plan in singles if len(singles) > 1 else ():
        try:
            entry = enter(contest, f"only-{name}", taught=True, plan=plan)
            rows.append(_row(contest.data.task, name, entry.trained, _statistics(contest, entry, test), alone))
        except BadInput as error:
            log.info("ablation of %s: %s", name, error)
            rows.append(AblationRow(name=name, note=str(error)))
    whole = COMBINATION if len(singles) > 1 else singles[0][0]
    return (*rows, _row(contest.data.task, whole, student.trained, _statistics(contest, student, test), alone))


def single_losses(plan: Plan) -> Iterator[tuple[str, Plan]]:
    """Yield every loss of the plan but the labels' by name, with the plan in which only it and the labels are left."""
    labels = tuple(loss for loss in plan.losses if loss.name == LABELS)
    for loss in plan.losses:
        if loss.name != LABELS and loss.weight:
            kept: tuple[WeightedLoss, ...] = (loss, *labels)
            yield loss.name, plan.model_copy(update={"losses": kept})


def _statistics(contest: Contest, entry: Entry, test: Split) -> Floats:
    assert test.labels is not None
    return contest.data.task.statistics(outputs_on(contest, entry, test), test.labels)


def _row(task: Task, name: str, trained: Trained, ours: Floats, alone: Floats | None = None) -> AblationRow:
    """A row of statistics (n, k); `alone` are those of labels only, where these are others."""
    return AblationRow(
        name=name,
        score=score_number(task, ours, HERE),
        difference=None if alone is None else paired_difference(task, ours, alone),
        seconds_per_1000_samples=1000 * trained.seconds / trained.samples,
        peak_memory_kib=trained.peak_memory_kib,
        note="; ".join(trained.notes),
    )
