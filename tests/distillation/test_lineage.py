"""Who teaches: several teachers, an assistant in between, the student's own earlier self."""

import copy
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from edgekd.distillation import lineage
from edgekd.distillation.contest import Contest, Entry, enter, open_cache
from edgekd.distillation.lineage import born_again, gather_teachers, with_assistant
from edgekd.distillation.seeds import Bout
from edgekd.errors import BadInput, UsageError
from edgekd.formats.read import LoadedModel, read_model
from edgekd.losses.table import parse_losses
from edgekd.recipe_file import make_recipe
from edgekd.students.macs import count_macs
from edgekd.teachers.combine import Ensemble
from edgekd.training.evaluate import predict_outputs

EXAMPLE = torch.zeros(1, 1, 8, 8)


def saved(net: nn.Module, path: Path) -> Path:
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(copy.deepcopy(net).eval(), (torch.zeros(2, 1, 8, 8),), dynamic_shapes=[{0: batch}])
    torch.export.save(program, path)
    return path


def relabelled(net: nn.Module, order: list[int]) -> nn.Module:
    """The same net with its classes in another order, or without some of them."""
    other, head = copy.deepcopy(net), net[-1]
    other[-1] = nn.Linear(head.in_features, len(order))
    other[-1].weight.data, other[-1].bias.data = head.weight.data[order], head.bias.data[order]
    return other


@pytest.fixture
def gather(teacher, few, tmp_path) -> Callable[..., nn.Module]:
    """Gather the trained teacher and others, each saved as a file and named by --co-teacher."""

    def gather(*others: nn.Module, **options) -> nn.Module:
        paths = [saved(other, tmp_path / f"other-{at}.pt2") for at, other in enumerate(others)]
        own = saved(teacher, tmp_path / "own.pt2")
        plan = make_recipe(model=str(own), co_teacher=tuple(map(str, paths)), **options)
        return gather_teachers(plan, read_model(own), few)

    return gather


def test_one_teacher_is_taken_as_it_is(teacher, few, tmp_path) -> None:
    loaded: LoadedModel = read_model(saved(teacher, tmp_path / "own.pt2"))
    assert gather_teachers(make_recipe(model="own.pt2"), loaded, few) is loaded.module


def test_several_teachers_answer_with_their_mean(gather, teacher, few, caplog) -> None:
    softer = copy.deepcopy(teacher)
    with torch.no_grad():
        softer[-1].weight *= 0.5
        softer[-1].bias *= 0.5
    with caplog.at_level(logging.INFO):
        both = gather(softer)
    said = predict_outputs(both, few.val, few.preprocessing)
    alone = [torch.from_numpy(predict_outputs(each, few.val, few.preprocessing)) for each in (teacher, softer)]
    mean = torch.stack([logits.softmax(dim=1) for logits in alone]).mean(dim=0)
    torch.testing.assert_close(torch.from_numpy(said).softmax(dim=1), mean, atol=1e-5, rtol=1e-4)
    right = (alone[0].argmax(dim=1).numpy() == few.val.labels).mean()
    assert f"own.pt2: {right:.4f} on validation" in caplog.text
    assert f"other-0.pt2: {right:.4f} on validation" in caplog.text


def test_the_architecture_is_that_of_state_dicts_alone(gather, teacher, tmp_path) -> None:
    assert isinstance(gather(teacher, arch=f"{tmp_path / 'nets.py'}:build"), Ensemble)


def test_a_teacher_of_another_class_order_is_refused(gather, teacher) -> None:
    with pytest.raises(BadInput, match=r"other-0\.pt2 knows class 0 as class 1.*another order") as refused:
        gather(relabelled(teacher, [1, 0, *range(2, 10)]))
    assert "\n" not in str(refused.value)


def test_a_teacher_of_another_number_of_classes_is_refused(gather, teacher) -> None:
    with pytest.raises(BadInput, match=r"other-0\.pt2 returns 8 per sample where .*own\.pt2 returns 10") as refused:
        gather(relabelled(teacher, list(range(8))))
    assert "\n" not in str(refused.value)


def test_a_teacher_that_guesses_is_refused(gather, teacher) -> None:
    guessing = copy.deepcopy(teacher)
    nn.init.zeros_(guessing[-1].weight)
    with pytest.raises(BadInput, match=r"other-0\.pt2: teacher scores .* chance is"):
        gather(guessing)


def test_an_assistant_lies_between_and_teaches_from_then_on(contest, teacher, make_net, tmp_path) -> None:
    plan = contest.plan.model_copy(
        update={"losses": parse_losses(("standardised_logits", "hint")), "pairs": (("2", "2"),)}
    )
    cache = open_cache(tmp_path / "cache", teacher, contest.data, plan)
    start = replace(contest, student=make_net(2, width=4), plan=plan, cache=cache)
    found = with_assistant(start, "auto", outputs=10)
    sizes = [count_macs(module, EXAMPLE) for module in (start.student, found.teacher, teacher)]
    assert sizes[0] < sizes[1] < sizes[2]
    # Pruned to their geometric mean or, as whole channels go, a little below.
    assert 0.7 < sizes[1] / (sizes[0] * sizes[2]) ** 0.5 <= 1
    assert found.student is start.student and found.data is start.data
    # What was paired with the teacher, or is known of it, does not hold for another.
    assert found.cache is None and found.plan.pairs == () and "hint" not in [loss.name for loss in found.plan.losses]
    said = predict_outputs(found.teacher, contest.data.val, contest.data.preprocessing)
    assert (said.argmax(axis=1) == contest.data.val.labels).mean() > 0.7


def test_there_is_no_assistant_where_nothing_lies_between(contest, make_net) -> None:
    for width in (24, 64):
        with pytest.raises(UsageError, match="--assistant needs a student smaller than its teacher"):
            with_assistant(replace(contest, student=make_net(2, width=width)), "auto", outputs=10)


@pytest.fixture
def generations(monkeypatch, make_entry) -> Callable[[dict[str, float]], list[tuple[str, nn.Module, int]]]:
    """Let trainings by these names score this; returns who was taught by whom, with which seed."""

    def use(scores: dict[str, float]) -> list[tuple[str, nn.Module, int]]:
        asked: list[tuple[str, nn.Module, int]] = []

        def stand_in(contest: Contest, name: str, *, taught: bool, plan, teacher: nn.Module) -> Entry:
            assert taught and plan.pairs == ()
            asked.append((name, teacher, plan.seed))
            return make_entry(name, score=scores[name])

        monkeypatch.setattr(lineage, "enter", stand_in)
        return asked

    return use


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ((0.6, 0.7, 0.65), "student-generation-3"),
        ((0.6, 0.5, 0.4), "student"),
        ((0.5, 0.6, 0.7), "student-generation-4"),
    ],
)
def test_each_generation_learns_from_the_one_before_and_the_best_is_kept(
    contest, make_entry, generations, scores, best
) -> None:
    asked = generations({f"student-generation-{at}": score for at, score in enumerate(scores, 2)})
    first, control = make_entry("student", score=0.62), make_entry("control")
    plan = contest.plan.model_copy(update={"losses": parse_losses(("hint",)), "pairs": (("2", "2"),), "seed": 3})
    bout = born_again(replace(contest, plan=plan), Bout(5, first, control), 4)
    assert [name for name, _, _ in asked] == [f"student-generation-{at}" for at in (2, 3, 4)]
    # The seed of the bout, not of the plan.
    assert asked[0][1] is first.module and [seed for _, _, seed in asked] == [5, 5, 5]
    assert len({id(teacher) for _, teacher, _ in asked}) == 3
    assert bout.student.name == best and bout.control is control and bout.seed == 5


def test_a_generation_starts_from_the_untrained_student(contest) -> None:
    ticks: list = []
    listening = replace(contest, listen=ticks.append, plan=contest.plan.model_copy(update={"steps": 8}))
    bout = Bout(0, enter(listening, "student", taught=True), None)
    before = {name: value.clone() for name, value in bout.student.module.state_dict().items()}
    start = bout.student.trained.curve
    again = born_again(listening, bout, 2)
    assert {tick.phase for tick in ticks} == {"student", "student-generation-2"}
    assert all(torch.equal(value, before[name]) for name, value in bout.student.module.state_dict().items())
    other = enter(listening, "student-generation-2", taught=True, teacher=bout.student.module)
    assert other.trained.resumed and other.trained.curve.scores[0] == start.scores[0]
    assert again.student.trained.score == max(bout.student.trained.score, other.trained.score)
