import copy
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.data.split import Split
from edgekd.errors import BadInput, UsageError
from edgekd.losses.table import parse_losses
from edgekd.training import loop as loop_module
from edgekd.training.lesson import Lesson
from edgekd.training.loop import train
from edgekd.training.plan import Plan
from edgekd.training.run import prepare
from edgekd.training.step import labels_of
from edgekd.training.validate import worth_keeping

PLAN = Plan(steps=60, batch_size=64, evaluate_every=20, learning_rate=0.1, precision="32-true", augment="crop", seed=3)


def losses(*texts):
    return parse_losses(texts)


class Cut(Exception):
    """Stands for a kill: nothing is saved on its way out."""


class Distinct(nn.Module):
    """Records every batch of inputs that passes in train mode."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.seen: list[torch.Tensor] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen.append(inputs.clone())
        return self.net(inputs)


def run(net, digits, folder, *, teacher=None, plan=PLAN, train_split=None, **how):
    return train(
        net,
        teacher=teacher,
        data=replace(digits, train=train_split) if train_split else digits,
        plan=plan,
        checkpoint=folder,
        accelerator="cpu",
        **how,
    )


def weights(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def teacher(digits, tmp_path_factory):
    torch.manual_seed(9)
    torch.set_num_threads(1)
    net = nn.Sequential(
        *(nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.Dropout(0.2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10)),
    )
    run(net, digits, tmp_path_factory.mktemp("teacher"), plan=PLAN.model_copy(update={"steps": 150}))
    return net


def test_a_distilled_student_learns_and_its_result_is_of_the_weights_it_holds(digits, make_net, teacher, tmp_path):
    net = make_net(0, dropout=0)
    result = run(net, digits, tmp_path, teacher=teacher)
    assert result.score > 0.75
    assert result.curve.steps == (0, 20, 40, 60)
    assert result.curve.scores[0] < 0.4 < result.curve.scores[-1]
    assert result.curve.losses[-1] < result.curve.losses[0]
    assert (result.steps, result.samples, result.accelerator, result.precision) == (60, 60 * 64, "cpu", "32-true")
    with torch.no_grad():
        inputs = torch.from_numpy((digits.val.inputs.transpose(0, 3, 1, 2) / 255.0 - 0.3) / 0.35).float()
        right = net.eval()(inputs).argmax(dim=1).numpy() == digits.val.labels
    assert np.array_equal(right, result.statistics[:, 0])
    assert result.score == pytest.approx(right.mean())


def test_the_teacher_stays_in_eval_mode_and_does_not_change(digits, make_net, teacher, tmp_path):
    watched = copy.deepcopy(teacher).train()
    before, modes = weights(watched), []
    watched.register_forward_pre_hook(lambda module, _: modes.append([part.training for part in module.modules()]))
    run(make_net(0), digits, tmp_path, teacher=watched, plan=PLAN.model_copy(update={"steps": 5}))
    assert len(modes) >= 5 and not any(any(mode) for mode in modes)
    assert same(weights(watched), before)
    assert all(parameter.grad is None for parameter in watched.parameters())


def test_student_and_control_start_alike_and_see_the_same_views(digits, make_net, teacher, tmp_path):
    start = make_net(1)
    runs = {"student": teacher, "control": None}
    ends, seen = {}, {}
    for who, one in runs.items():
        net = Distinct(copy.deepcopy(start))
        run(net, digits, tmp_path / who, teacher=one, plan=PLAN.model_copy(update={"steps": 25}))
        ends[who], seen[who] = weights(net), net.seen
    assert len(seen["student"]) == len(seen["control"]) >= 25
    assert all(torch.equal(a, b) for a, b in zip(seen["student"], seen["control"], strict=True))
    assert not same(ends["student"], ends["control"])


def test_a_student_that_ignores_its_teacher_is_the_control_bit_for_bit(digits, make_net, teacher, tmp_path):
    plan = PLAN.model_copy(update={"steps": 25, "losses": losses("standardised_logits=0", "labels=1")})
    one, two = make_net(1), make_net(1)
    run(one, digits, tmp_path / "student", teacher=teacher, plan=plan)
    run(two, digits, tmp_path / "control", plan=plan)
    assert same(weights(one), weights(two))


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_run_cut_anywhere_ends_with_the_same_bits(digits, make_net, teacher, tmp_path, optimizer):
    rate = 0.1 if optimizer == "sgd" else 0.01
    plan = PLAN.model_copy(update={"steps": 30, "evaluate_every": 10, "optimizer": optimizer, "learning_rate": rate})
    whole = make_net(2)
    undisturbed = run(whole, digits, tmp_path / "whole", teacher=teacher, plan=plan)
    for cut_at in (7, 10, 23):
        folder = tmp_path / f"cut-{cut_at}"

        def cut(tick, cut_at=cut_at):
            if tick.done == cut_at:
                raise Cut

        with pytest.raises(Cut):
            run(make_net(2), digits, folder, teacher=teacher, plan=plan, progress=cut, save_every_s=0)
        torch.manual_seed(1234)
        net, ticks = make_net(2), []
        resumed = run(net, digits, folder, teacher=teacher, plan=plan, progress=ticks.append)
        assert ticks[0].done == cut_at + 1
        assert same(weights(net), weights(whole))
        # Running average, momentum and random state too, not only the weights that were kept.
        ends = [(at / "state-30.safetensors").read_bytes() for at in (tmp_path / "whole", folder)]
        assert ends[0] == ends[1]
        assert resumed.curve == undisturbed.curve and resumed.resumed and not undisturbed.resumed
        assert np.array_equal(resumed.statistics, undisturbed.statistics)


def test_a_finished_run_is_not_done_again(digits, make_net, tmp_path):
    plan = PLAN.model_copy(update={"steps": 10})
    one, two, ticks = make_net(2), make_net(2), []
    first = run(one, digits, tmp_path, plan=plan)
    again = run(two, digits, tmp_path, plan=plan, progress=ticks.append)
    assert not ticks and same(weights(one), weights(two)) and again.score == first.score


@pytest.mark.slow
def test_control_c_between_steps_saves_and_goes_on_from_there(tmp_path):
    """In a process of its own: a test runner's worker need not run tests in its main thread, where signals arrive."""
    script = Path(__file__).with_name("train_digits.py")
    pressed = subprocess.run([sys.executable, str(script), str(tmp_path), "4", "press"], capture_output=True, text=True)
    assert pressed.stdout.split() == ["interrupted", "restored"], pressed.stderr
    ledger = json.loads((tmp_path / "checkpoint" / "state.json").read_text())["ledger"]
    assert ledger["step"] == 5  # the press is heard at the end of the step after it
    subprocess.run([sys.executable, str(script), str(tmp_path), "-1"], check=True)
    assert (tmp_path / "score.txt").read_text().endswith("True")


@pytest.mark.parametrize("change", ["plan", "student", "teacher", "data"])
def test_a_checkpoint_of_another_run_is_not_used(digits, make_net, teacher, tmp_path, change, caplog):
    def cut(tick):
        raise Cut

    with pytest.raises(Cut):
        run(make_net(2), digits, tmp_path, teacher=teacher, progress=cut, save_every_s=0)
    plan = PLAN.model_copy(update={"steps": 3, "learning_rate": 0.05 if change == "plan" else 0.1})
    split = Split(digits.train.inputs[::-1], digits.train.labels[::-1]) if change == "data" else None
    other = None if change == "teacher" else teacher
    net = make_net(3 if change == "student" else 2)
    result = run(net, digits, tmp_path, teacher=other, plan=plan, train_split=split)
    assert not result.resumed
    assert "another" in caplog.text


@pytest.mark.parametrize("damage", ["json", "tensors", "missing"])
def test_a_damaged_checkpoint_is_not_used(digits, make_net, tmp_path, damage, caplog):
    plan = PLAN.model_copy(update={"steps": 3})
    expected = make_net(2)
    run(expected, digits, tmp_path, plan=plan)
    tensors = next(tmp_path.glob("state-*.safetensors"))
    if damage == "json":
        (tmp_path / "state.json").write_text('{"schema": 1')
    elif damage == "tensors":
        data = bytearray(tensors.read_bytes())
        data[-3] ^= 1
        tensors.write_bytes(bytes(data))
    else:
        tensors.unlink()
    net = make_net(2)
    assert not run(net, digits, tmp_path, plan=plan).resumed
    assert "damaged" in caplog.text and same(weights(net), weights(expected))


def test_a_loss_that_is_no_number_costs_half_the_rate_and_not_the_run(digits, make_net, tmp_path, monkeypatch):
    real, calls = Lesson._of_labels, []

    def poisoned(*args, **how):
        calls.append(1)
        return real(*args, **how) * (float("nan") if len(calls) == 45 else 1.0)

    monkeypatch.setattr(Lesson, "_of_labels", poisoned)
    net = make_net(0, dropout=0)
    result = run(net, digits, tmp_path, plan=PLAN.model_copy(update={"steps": 100}))
    assert len(result.notes) == 1 and "step 45" in result.notes[0] and "0.5 of the planned" in result.notes[0]
    assert result.score > 0.5 and all(torch.isfinite(value).all() for value in net.state_dict().values())


def test_a_run_that_keeps_diverging_ends_in_a_sentence(digits, make_net, tmp_path, monkeypatch):
    monkeypatch.setattr(Lesson, "_of_labels", lambda self, outputs, labels: outputs.sum() * float("nan"))
    with pytest.raises(BadInput, match="step 4 of 60"):
        run(make_net(0), digits, tmp_path)


def test_unlabelled_data_distil_and_are_scored_by_agreement(digits, make_net, teacher, tmp_path):
    bare = replace(digits, train=Split(digits.train.inputs, None), val=Split(digits.val.inputs, None))
    net = make_net(0, dropout=0)
    result = run(net, bare, tmp_path, teacher=teacher)
    with torch.no_grad():
        inputs = torch.from_numpy((digits.val.inputs.transpose(0, 3, 1, 2) / 255.0 - 0.3) / 0.35).float()
        agreement = (net.eval()(inputs).argmax(1) == teacher.eval()(inputs).argmax(1)).float().mean()
    assert result.score == pytest.approx(float(agreement), abs=1e-6) and result.score > 0.7
    with pytest.raises(UsageError, match="teacher"):
        run(make_net(0), bare, tmp_path / "control")


def test_few_labels_teach_the_control_and_the_teacher_the_rest(digits, make_net, teacher, tmp_path):
    few, every = digits.train.labels[:100], digits.train
    mixed, alone = Split(every.inputs, few), Split(every.inputs[:100], few)
    taught, control, same_control = make_net(1), make_net(1), make_net(1)
    more = run(taught, digits, tmp_path / "taught", teacher=teacher, train_split=mixed)
    less = run(control, digits, tmp_path / "control", train_split=mixed)
    run(same_control, digits, tmp_path / "alone", train_split=alone)
    assert same(weights(control), weights(same_control))  # the unlabelled samples never reach it
    assert more.score > less.score + 0.05


def test_the_control_of_few_labels_has_the_students_batches(digits, make_net, teacher, tmp_path):
    few = Split(digits.train.inputs, digits.train.labels[:30])
    plan = PLAN.model_copy(update={"steps": 4})
    nets = [Distinct(make_net(seed)) for seed in (1, 1)]
    for net, by in zip(nets, (teacher, None), strict=True):
        run(net, digits, tmp_path / str(by is None), teacher=by, plan=plan, train_split=few)
    sizes = [{len(inputs) for inputs in net.seen} for net in nets]
    assert sizes[0] == sizes[1] == {64}


def test_a_loss_that_needs_labels_says_how_few_it_teaches_on(digits, make_net, teacher, tmp_path):
    few = Split(digits.train.inputs, digits.train.labels[:100])
    plan = PLAN.model_copy(update={"steps": 2, "losses": losses("decoupled", "soft_targets")})
    found = run(make_net(1), digits, tmp_path, teacher=teacher, plan=plan, train_split=few)
    assert "decoupled needs labels, so it teaches on the 100 samples that have one" in found.notes


def test_every_label_has_the_same_say_however_few_a_batch_holds(digits, make_net, teacher, tmp_path):
    """Over an epoch the labels' loss adds up to its mean over the labelled samples, times the steps."""
    split = Split(digits.train.inputs[:96], digits.train.labels[:20])
    plan = PLAN.model_copy(update={"batch_size": 12, "losses": losses("soft_targets"), "augment": "none"})
    data = replace(digits, train=split)
    set_up = prepare(make_net(1), teacher=teacher, data=data, plan=plan, place="cpu")
    given = [labels_of(set_up, set_up.views.at(at)) for at in range(8)]
    set_up.views.close()
    assert len({len(labels.own) for labels in given if labels}) > 1
    shares = [labels.weight / len(labels.own) for labels in given if labels for _ in labels.own]
    assert len(shares) == 20 and shares == pytest.approx([8 / 20] * 20)


def test_a_net_that_only_runs_in_the_plain_layout_trains(digits, tmp_path):
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.out = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, 10)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.out(self.conv(inputs).relu().view(inputs.shape[0], -1))

    torch.manual_seed(0)
    assert run(Views(), digits, tmp_path, plan=PLAN.model_copy(update={"learning_rate": 0.02})).score > 0.5


def test_outputs_and_labels_that_do_not_fit_are_refused(digits, make_net, teacher, tmp_path):
    few = nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
    with pytest.raises(BadInput, match="labels go up to 9, but the model has 5 outputs"):
        run(copy.deepcopy(few), digits, tmp_path)
    bare = replace(digits, train=Split(digits.train.inputs, None), val=Split(digits.val.inputs, None))
    with pytest.raises(BadInput, match=r"student gives \(1, 5\) where the teacher gives \(1, 10\)"):
        run(few, bare, tmp_path, teacher=teacher)
    with pytest.raises(BadInput, match=r"a classifier gives logits \(classes,\)"):
        run(nn.Conv2d(1, 2, 3), digits, tmp_path)


def test_bfloat16_runs_resume_bit_for_bit_too(digits, make_net, teacher, tmp_path):
    plan = PLAN.model_copy(update={"steps": 12, "precision": "bf16-mixed", "teacher_precision": "bf16-mixed"})

    def cut(tick):
        if tick.done == 5:
            raise Cut

    whole, cut_net, net = make_net(4), make_net(4), make_net(4)
    run(whole, digits, tmp_path / "whole", teacher=teacher, plan=plan)
    with pytest.raises(Cut):
        run(cut_net, digits, tmp_path / "cut", teacher=teacher, plan=plan, progress=cut, save_every_s=0)
    run(net, digits, tmp_path / "cut", teacher=teacher, plan=plan)
    assert same(weights(net), weights(whole))


def test_one_standard_error_is_what_noise_may_cost():
    # sqrt(0.9 * 0.1 / 900) = 0.01
    hits = np.zeros((900, 1))
    assert worth_keeping(0.8901, 0.9, hits) and not worth_keeping(0.8899, 0.9, hits)
    assert worth_keeping(1.0, 1.0, hits) and not worth_keeping(0.999, 1.0, hits)
    assert worth_keeping(0.0, -1.0, hits[:1])
    sums = np.zeros((900, 3))
    assert worth_keeping(0.9, 0.9, sums) and not worth_keeping(0.8999, 0.9, sums)


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([0.10, 0.90, 0.90, 0.90], 3),  # flat: the last
        ([0.10, 0.90, 0.895, 0.80], 2),  # a little less is noise, ten points are not
        ([0.10, 0.90, 0.891, 0.882], 2),  # small losses do not add up: 0.882 is held against 0.90
        ([0.10, 0.95, 0.80, 0.81], 1),
    ],
)
def test_of_weights_within_noise_the_later_are_kept(digits, make_net, tmp_path, monkeypatch, scores, kept):
    """The scores are handed out by evaluation, over 900 images; what is kept is told by the weights of that moment."""
    moments: list = []
    val = Split(np.repeat(digits.val.inputs, 2, axis=0)[:900], np.repeat(digits.val.labels, 2)[:900])

    def hand_out(outputs, truth):
        at = min(len(moments) - 1, len(scores) - 1)
        return (np.arange(900) < round(900 * scores[at]))[:, None].astype(float)

    real = loop_module.evaluate

    def evaluate(run, *how):
        moments.append(weights(run.state.student))
        return real(run, *how)

    monkeypatch.setattr(loop_module, "evaluate", evaluate)
    net = make_net(0)
    plan = PLAN.model_copy(update={"steps": 6, "evaluate_every": 2})
    result = run(net, replace(digits, val=val, task=replace(digits.task, statistics=hand_out)), tmp_path, plan=plan)
    assert result.curve.scores == pytest.approx(scores, abs=1e-3)
    assert [same(weights(net), moment) for moment in moments].index(True) == kept


def test_batches_of_one_image_train_or_say_why_not(digits, make_net, tmp_path):
    few = Split(digits.train.inputs[:40], digits.train.labels[:40])
    plan = PLAN.model_copy(update={"steps": 2, "batch_size": 1})
    assert run(make_net(0), digits, tmp_path / "maps", plan=plan, train_split=few).steps == 2
    features = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
    with pytest.raises(BadInput, match=r"batches of one image .* give --batch-size 2 or more"):
        run(features, digits, tmp_path / "features", plan=plan, train_split=few)


def test_a_plan_without_anything_to_learn_from_is_refused(digits, make_net, teacher, tmp_path):
    neither = PLAN.model_copy(update={"losses": losses("standardised_logits=0", "labels=0")})
    with pytest.raises(UsageError, match="nothing to learn from"):
        run(make_net(0), digits, tmp_path, teacher=teacher, plan=neither)
    bare = replace(digits, train=Split(digits.train.inputs, None), val=Split(digits.val.inputs, None))
    alone = PLAN.model_copy(update={"losses": losses("standardised_logits=0")})
    with pytest.raises(UsageError, match="nothing to learn from"):
        run(make_net(0), bare, tmp_path, teacher=teacher, plan=alone)


def test_a_student_that_says_no_numbers_from_the_start_is_refused(digits, make_net, tmp_path):
    net = make_net(0)
    with torch.no_grad():
        net[-1].bias.fill_(float("nan"))
    with pytest.raises(BadInput, match="before training has begun"):
        run(net, digits, tmp_path)


@pytest.mark.parametrize(("augment", "notes"), [("crop", 1), ("none", 0)])
def test_augmentation_that_model_inputs_cannot_have_is_said(digits, make_net, tmp_path, augment, notes):
    def inputs(split: Split) -> Split:
        return Split((split.inputs.transpose(0, 3, 1, 2) / 255.0).astype(np.float32), split.labels)

    how = digits.preprocessing.model_copy(update={"identity": True})
    ready = replace(digits, train=inputs(digits.train), val=inputs(digits.val), preprocessing=how)
    plan = PLAN.model_copy(update={"steps": 2, "augment": augment})
    result = run(make_net(0), ready, tmp_path, plan=plan)
    assert len(result.notes) == notes and all("'crop' was left out" in note for note in result.notes)
