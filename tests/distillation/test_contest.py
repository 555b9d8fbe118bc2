"""Who takes part starts from the same student, is trained once, and is asked on its own data only."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from edgekd.data.split import Split
from edgekd.distillation.contest import enter, open_cache, seeded
from edgekd.errors import BadInput
from edgekd.fronts.fronted import Fronted
from edgekd.fronts.place import Place
from edgekd.fronts.table import build_fronts, parse_front
from edgekd.training.plan import Plan


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_training_is_of_a_copy_and_its_weights_are_on_disk(contest) -> None:
    before = {name: value.clone() for name, value in contest.student.state_dict().items()}
    entry = enter(contest, "student", taught=True)
    assert same(contest.student.state_dict(), before) and not same(entry.module.state_dict(), before)
    assert entry.weights == contest.folder / "entries" / "student.safetensors"
    assert same(load_file(entry.weights), entry.module.state_dict())


def test_what_was_trained_is_taken_over(contest) -> None:
    ticks: list = []
    listening = replace(contest, listen=ticks.append)
    first = enter(listening, "student", taught=True)
    assert len(ticks) == 40 and {tick.phase for tick in ticks} == {"student"}
    again = enter(listening, "student", taught=True)
    assert len(ticks) == 40 and again.trained.resumed
    assert same(first.module.state_dict(), again.module.state_dict())
    assert again.trained.curve == first.trained.curve and again.trained.samples == first.trained.samples


@pytest.mark.parametrize("other", ["data", "teacher"])
def test_a_cache_is_asked_about_its_own_teacher_and_data_only(contest, make_net, other, tmp_path) -> None:
    """Sample 7 of other data is another sample, so what the cache has of it would be another's answer."""
    train = contest.data.train
    reversed_data = replace(contest.data, train=Split(train.inputs[::-1].copy(), train.labels[::-1].copy()))
    how = {"data": reversed_data} if other == "data" else {"teacher": make_net(8)}
    alone = enter(contest, "alone", taught=True, **how)
    cache = open_cache(tmp_path / "cache", contest.teacher, contest.data, contest.plan)
    cached = replace(contest, cache=cache)
    enter(cached, "student", taught=True)
    assert len(list((tmp_path / "cache").glob("segment-*"))) > 0
    stored = {path: path.read_bytes() for path in (tmp_path / "cache").glob("segment-*")}
    entry = enter(cached, "other", taught=True, **how)
    assert same(entry.module.state_dict(), alone.module.state_dict())
    cache.close()
    assert {path: path.read_bytes() for path in (tmp_path / "cache").glob("segment-*")} == stored


def test_a_cache_is_of_one_front(contest, make_net, tmp_path) -> None:
    """Two fronts without weights that differ in a setting give different answers."""

    def behind(mel: str) -> Fronted:
        return Fronted(build_fronts([parse_front(f"log_mel=8,mel={mel}")], Place((4000,), 8000)), make_net(1)).eval()

    open_cache(tmp_path / "cache", behind("htk"), contest.data, contest.plan).close()
    with pytest.raises(BadInput, match="written by another teacher"):
        open_cache(tmp_path / "cache", behind("slaney"), contest.data, contest.plan)


def test_a_control_knows_no_teacher_nor_what_it_said(contest, tmp_path) -> None:
    calls: list[int] = []
    handle = contest.teacher.register_forward_pre_hook(lambda *_: calls.append(1))
    control = enter(contest, "control", taught=False)
    handle.remove()
    assert not calls
    assert np.isfinite(control.trained.curve.losses).all()


def test_another_seed_changes_the_order_and_keeps_the_views() -> None:
    plan = Plan(steps=3, seed=4, view_seed=4)
    assert seeded(plan, 2) == plan.model_copy(update={"seed": 6}) and seeded(plan, 0) == plan
