"""From a recipe to a plan: what is asked for, what is the default, and how time is divided."""

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from edgekd.data.split import Split
from edgekd.distillation import planning
from edgekd.distillation.planning import decided_once, plan_training, usual_augment
from edgekd.distillation.tuning import TRIAL_SHARE
from edgekd.errors import UsageError
from edgekd.preprocessing import Preprocessing
from edgekd.recipe_file import make_recipe
from edgekd.students.student import Student
from edgekd.tasks.classification import CLASSIFICATION
from edgekd.tasks.detection import DETECTION
from edgekd.tasks.regression import GENERIC, REGRESSION
from edgekd.training.data import TrainingData
from edgekd.training.plan import Plan

COLOUR = Preprocessing(height=24, width=32, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
GREY = Preprocessing(height=24, width=32, channels=1, mean=(0.5,), std=(0.5,))
READY = COLOUR.model_copy(update={"identity": True})


def planned(
    net: nn.Module | None = None,
    *,
    how: Preprocessing = COLOUR,
    task=CLASSIFICATION,
    carries=False,
    control=True,
    pairs=(),
    labelled=40,
    **asked,
) -> Plan:
    split = Split(np.zeros((40, 24, 32, 3), np.uint8), np.zeros(40, np.int64))
    train = Split(split.inputs, np.zeros(labelled, np.int64))
    student = Student(net or nn.Linear(1, 3), "made", carries, 1, 1, 1, {})
    recipe = make_recipe(model="m", **{"accelerator": "cpu", **asked})
    data = TrainingData(train, split, how, task)
    return plan_training(recipe, student, nn.Linear(1, 3), data, pairs=pairs, control=control)


def weights(plan: Plan) -> dict[str, float]:
    return {loss.name: loss.weight for loss in plan.losses}


@pytest.mark.parametrize(
    ("asked", "losses"),
    [
        ({}, {"standardised_logits": 9.0, "labels": 0.1}),
        ({"loss": ("soft_targets",)}, {"soft_targets": 0.9, "labels": 0.1}),
        ({"loss": ("soft_targets=2", "labels=0.5")}, {"soft_targets": 2.0, "labels": 0.5}),
        ({"loss": ("attention_transfer", "correlation")}, {"attention_transfer": 3000, "correlation": 2, "labels": 1}),
        ({"loss": ("labels",)}, {"labels": 1.0}),
        ({"task": REGRESSION}, {"squared_error": 0.5, "labels": 0.5}),
        ({"task": GENERIC}, {"squared_error": 0.5, "labels": 0.5}),
        ({"task": REGRESSION, "loss": ("teacher_bounded=3",)}, {"teacher_bounded": 3.0, "labels": 1.0}),
    ],
)
def test_losses_are_those_asked_for_or_the_tasks_own(asked, losses) -> None:
    assert weights(planned(**asked)) == losses


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'soft_targets'"):
        planned(loss=("soft_target",))


def test_what_is_asked_for_is_in_the_plan() -> None:
    asked = {
        "learning_rate": 0.3,
        "weight_decay": 0.0,
        "augment": "strong",
        "temperature": 2.5,
        "patience": 4,
        "batch_size": 20,
        "mixup": 0.5,
        "peers": 2,
        "seed": 6,
    }
    plan = planned(**asked, pairs=(("a", "b"),))
    assert {name: getattr(plan, name) for name in asked} == asked
    assert plan.view_seed == 6 and plan.pairs == (("a", "b"),)


@pytest.mark.parametrize(
    ("normalised", "carries", "optimizer", "rate"),
    [
        (True, True, "sgd", 0.03 * 64 / 128),
        (True, False, "sgd", 0.1 * 64 / 128),
        (False, True, "adamw", 3e-4 * (64 / 128) ** 0.5),
        (False, False, "adamw", 1e-3 * (64 / 128) ** 0.5),
    ],
)
def test_what_is_left_open_is_decided(normalised: bool, carries: bool, optimizer: str, rate: float) -> None:
    net = nn.Sequential(nn.Linear(1, 3), nn.BatchNorm1d(3)) if normalised else nn.Linear(1, 3)
    plan = planned(net, carries=carries, batch_size=64)
    assert (plan.optimizer, plan.learning_rate) == (optimizer, pytest.approx(rate))
    assert (plan.weight_decay, plan.temperature, plan.patience, plan.mixup, plan.peers) == (5e-4, None, None, 0, 0)
    assert plan.precision is not None and plan.teacher_precision is not None
    # 30 passes over 40 samples, in batches of all of them.
    assert (plan.steps, plan.evaluate_every) == (30, 2)


@pytest.mark.parametrize(("epochs", "batch", "steps"), [(3, 20, 6), (3, 30, 4), (1, 64, 1), (7, 1, 280)])
def test_epochs_are_passes(epochs: int, batch: int, steps: int) -> None:
    assert planned(epochs=epochs, batch_size=batch).steps == steps


@pytest.mark.parametrize(
    ("how", "asked", "augment"),
    [
        (COLOUR, {}, "crop+flip"),
        (GREY, {}, "crop"),
        (READY, {}, "none"),
        (READY, {"augment": "crop"}, "crop"),
        (COLOUR, {"augment": "none"}, "none"),
    ],
)
def test_views_are_what_images_bear(how, asked, augment) -> None:
    assert planned(how=how, **asked).augment == augment
    assert asked or usual_augment(how, CLASSIFICATION) == augment


def test_boxes_bear_a_flip_alone() -> None:
    assert [usual_augment(how, DETECTION) for how in (COLOUR, GREY, READY)] == ["flip", "flip", "none"]


@pytest.mark.parametrize(
    ("asked", "pairs", "alone"),
    [
        ({}, 1, 1),
        ({"seeds": 5}, 5, 5),
        ({"folds": 3}, 4, 1),
        ({"seeds": 2, "folds": 4}, 6, 2),
        ({"tune": 12}, 1 + TRIAL_SHARE * 12 / 2, 1 + TRIAL_SHARE * 12),
        ({"generations": 3, "seeds": 2}, 2 + 4 / 2, 2 + 4),
        ({"assistant": "auto"}, 1.5, 2),
        # Each loss alone, the labels not among them; one loss alone is the student itself.
        ({"ablate": True, "loss": ("soft_targets", "correlation", "hint=0", "labels=0.5")}, 1 + 2 / 2, 1),
        ({"ablate": True, "loss": ("soft_targets", "labels=0.5")}, 1, 1),
        ({"ablate": True}, 1, 1),
        # Between layers: once more without, unless no other loss is left.
        ({"loss": ("hint", "soft_targets")}, 1.5, 2),
        ({"loss": ("hint",)}, 1, 1),
    ],
)
@pytest.mark.parametrize("control", [True, False])
def test_time_is_divided_over_all_that_is_trained(monkeypatch, asked, pairs, alone, control: bool) -> None:
    """In pairs of student and control, or without one in students, whose test split nobody is compared on."""
    told: dict = {}

    def settle_steps(plan: Plan, **how) -> Plan:
        told.update(how)
        return plan

    monkeypatch.setattr(planning, "settle_steps", settle_steps)
    planned(time="20m", control=control, **asked)
    assert (told["time"], told["epochs"], told["control"]) == ("20m", None, control)
    assert told["pairs"] == pytest.approx(pairs if control else alone)


def test_a_plan_is_decided_once(tmp_path: Path) -> None:
    path, calls = tmp_path / "training.json", []

    def decide() -> Plan:
        calls.append(1)
        return planned(loss=("soft_targets=0.3",), epochs=len(calls), pairs=(("a", "b"),))

    first = decided_once(path, decide)
    assert decided_once(path, decide) == first and len(calls) == 1
    assert first == planned(loss=("soft_targets=0.3",), epochs=1, pairs=(("a", "b"),))


def test_a_batch_holds_no_more_than_there_are_samples() -> None:
    assert planned().batch_size == planned(labelled=10).batch_size == 40
    assert planned(batch_size=16).batch_size == 16


@pytest.mark.parametrize(
    ("loss", "named"),
    [(("decoupled",), "decoupled"), (("labels",), "labels"), (("normalised", "decoupled"), "normalised and decoupled")],
)
def test_losses_that_leave_the_unlabelled_untaught_are_refused(loss, named) -> None:
    with pytest.raises(UsageError, match=f"--loss {named} needs labels, so nothing would teach on the 30 training"):
        planned(labelled=10, loss=loss)
    assert planned(labelled=40, loss=loss)
    assert planned(labelled=10, loss=(*loss, "soft_targets"))
