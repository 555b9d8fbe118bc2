"""Which task a model and its labels make."""

import pytest

from edgekd.errors import UsageError
from edgekd.tasks.table import TASKS, find_task, settle_task


@pytest.mark.parametrize(
    ("wanted", "labels", "shapes", "task"),
    [
        (None, "classes", ((10,),), "classification"),
        (None, "numbers", ((10,),), "regression"),
        (None, "boxes", ((50, 3), (50, 4)), "detection"),
        (None, None, ((10,),), "classification"),
        (None, None, ((1,),), "generic"),
        (None, None, ((), ()), "generic"),
        (None, None, ((96, 7),), "generic"),
        (None, None, ((50, 3), (50, 4)), "generic"),
        ("regression", None, ((10,),), "regression"),
        ("generic", "classes", ((10,),), "generic"),
    ],
)
def test_the_task_follows_from_labels_else_from_outputs(wanted, labels, shapes, task) -> None:
    assert settle_task(wanted, labels=labels, output_shapes=shapes).name == task


def test_an_unknown_task_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'regression'"):
        find_task("regresion")
    assert all(find_task(name).name == name for name in TASKS)
