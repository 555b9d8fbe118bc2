"""The tasks by name, and which of them a model and its labels make."""

from edgekd.errors import UsageError, did_you_mean
from edgekd.tasks.classification import CLASSIFICATION
from edgekd.tasks.detection import DETECTION
from edgekd.tasks.regression import GENERIC, REGRESSION
from edgekd.tasks.task import Task


def find_task(name: str) -> Task:
    """The task of a name. Raises UsageError where there is none."""
    if name not in TASKS:
        raise UsageError(f"there is no task {name!r}{did_you_mean(name, TASKS)}")
    return TASKS[name]


def settle_task(wanted: str | None, *, labels: str | None, output_shapes: tuple[tuple[int, ...], ...]) -> Task:
    """The task that is asked for, else what the labels or, without any, the outputs make it.

    Args:
        wanted: a name of `TASKS`, or None.
        labels: "classes" (integers), "numbers" (floats), "boxes", or None.
        output_shapes: shape of each of the model's outputs for one sample.

    Raises:
        UsageError: there is no such task.
    """
    if wanted is not None:
        return find_task(wanted)
    if labels is not None:
        return {"classes": CLASSIFICATION, "numbers": REGRESSION, "boxes": DETECTION}[labels]
    classifies = len(output_shapes[0]) == 1 and output_shapes[0][0] > 1
    return CLASSIFICATION if classifies else GENERIC


TASKS: dict[str, Task] = {task.name: task for task in (CLASSIFICATION, REGRESSION, DETECTION, GENERIC)}
