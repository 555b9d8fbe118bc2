"""Pruning in steps: the sizes on the way, what is trained between them, and whether it is worth anything."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from edgekd.data.split import Split
from edgekd.distillation import gradual
from edgekd.distillation.contest import Contest, Entry
from edgekd.distillation.derive import derive_student
from edgekd.distillation.gradual import prune_in_steps
from edgekd.errors import UsageError
from edgekd.formats.read import LoadedModel
from edgekd.fronts.place import Place
from edgekd.fronts.table import build_fronts, parse_front
from edgekd.students.macs import count_macs
from edgekd.students.pruning import prune, rebuild
from edgekd.tasks.task import score_of
from edgekd.training.data import TrainingData
from edgekd.training.evaluate import predict_outputs

EXAMPLE = torch.zeros(1, 1, 8, 8)


def scored(module: nn.Module, data: TrainingData) -> float:
    assert data.val.labels is not None
    return score_of(data.task, predict_outputs(module, data.val, data.preprocessing), data.val.labels)


def test_it_ends_as_small_as_at_once_and_knows_more(contest: Contest, teacher: nn.Module) -> None:
    at_once = prune(teacher, EXAMPLE, keep_macs=0.2)
    setting = replace(contest, plan=contest.plan.model_copy(update={"steps": 150}))
    gradually = prune_in_steps(setting, teacher, at_once, 3)
    assert 0.9 * at_once.macs < gradually.macs <= at_once.macs == count_macs(at_once.module, EXAMPLE)
    assert scored(gradually.module, contest.data) > scored(at_once.module, contest.data) + 0.05
    rebuilt = rebuild(teacher, EXAMPLE, gradually.plan)
    rebuilt.load_state_dict(gradually.module.state_dict())
    image = torch.rand(2, 1, 8, 8)
    assert torch.equal(rebuilt(image), gradually.module(image))


def test_a_student_of_smaller_images_is_pruned_behind_its_front(contest: Contest, teacher: nn.Module) -> None:
    front = build_fronts([parse_front("resize=4,4")], Place((1, 8, 8)))
    fake = LoadedModel(teacher, "exported program", "", None, {}, (), trainable=True)
    at_once = derive_student("auto", fake, EXAMPLE, outputs=10, keep_macs=0.3, latency_goal=None, seed=0, front=front)
    gradually = prune_in_steps(contest, teacher, at_once, 2)
    assert 0.8 * at_once.macs < gradually.macs <= at_once.macs
    rebuilt = rebuild(teacher, EXAMPLE, gradually.plan)
    rebuilt.load_state_dict(gradually.module.state_dict())
    image = torch.rand(2, 1, 8, 8)
    assert torch.equal(rebuilt(image), gradually.module(image))


def test_a_student_of_fewer_layers_is_refused(contest: Contest, teacher: nn.Module) -> None:
    layers = replace(prune(teacher, EXAMPLE, keep_macs=0.5), plan={"mode": "layers"})
    with pytest.raises(UsageError, match="--prune-steps is for networks that lose channels"):
        prune_in_steps(contest, teacher, layers, 2)


@pytest.mark.parametrize("labelled", [True, False])
def test_sizes_are_even_and_labels_alone_teach_where_there_are_any(
    contest: Contest, teacher: nn.Module, monkeypatch: pytest.MonkeyPatch, labelled: bool
) -> None:
    asked: list[tuple[str, bool, list[str], int, int]] = []
    real = gradual.enter

    def listening(setting: Contest, name: str, *, taught: bool, plan) -> Entry:
        macs = count_macs(setting.student, EXAMPLE)
        asked.append((name, taught, [loss.name for loss in plan.losses], plan.steps, macs))
        return real(setting, name, taught=taught, plan=plan)

    monkeypatch.setattr(gradual, "enter", listening)
    data = contest.data
    if not labelled:
        data = replace(data, train=Split(data.train.inputs, None), val=Split(data.val.inputs, None))
    total = count_macs(teacher, EXAMPLE)
    prune_in_steps(replace(contest, data=data), teacher, prune(teacher, EXAMPLE, keep_macs=0.2), 2)
    (name, taught, losses, steps, macs), *others = asked
    assert not others and (name, steps) == ("pruned-1", 4)
    assert (taught, losses[0]) == ((False, "labels") if labelled else (True, "standardised_logits"))
    assert 0.7 * 0.2**0.5 < macs / total <= 0.2**0.5  # whole channels go, so a little below
