"""The sum of losses by hand; what learns beside the student, and is gone when it ships."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgekd.errors import UsageError
from edgekd.exporting.onnx_export import export_onnx
from edgekd.losses.detection import detection
from edgekd.losses.labels import cross_entropy
from edgekd.losses.table import FEATURE_LOSSES, OUTPUT_LOSSES, parse_losses
from edgekd.training.lesson import Labels, Lesson, Taught, build_heads, check_losses
from edgekd.training.loop import train
from edgekd.training.plan import Plan
from edgekd.training.run import prepare
from edgekd.training.step import advance

PLAN = Plan(steps=12, batch_size=32, evaluate_every=6, learning_rate=0.05, precision="32-true", recalibration_batches=0)
PAIRS = (("2", "2"), ("6", "6"))
BATCH = 6


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy().astype(np.float64)


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.fixture
def student() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 4))


@pytest.fixture
def inputs() -> torch.Tensor:
    return torch.randn(BATCH, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def taught() -> Taught:
    generator = torch.Generator().manual_seed(2)
    return Taught((3 * torch.randn(BATCH, 4, generator=generator),), (torch.randn(BATCH, 5, generator=generator),))


LABELS = Labels(torch.tensor([0, 3, 1, 2, 0, 1]))


def test_the_sum_is_of_labels_outputs_and_projected_features(student, inputs, taught) -> None:
    losses = parse_losses(("soft_targets=0.7", "hint=3", "labels=0.2"))
    torch.manual_seed(4)
    heads = build_heads(losses, [torch.zeros(2, 2)], [torch.zeros(2, 5)])
    lesson = Lesson(student, losses, label_loss="cross_entropy", layers=["0"], heads=heads, label_smoothing=0.1)
    total = lesson(inputs, taught, LABELS)

    features, logits = array(student[0](inputs)), array(student(inputs))
    hot = np.eye(4)[LABELS.own] * 0.9 + 0.1 / 4
    by_labels = -(hot * np.log(softmax(logits))).sum(axis=1).mean()
    soft, wanted = softmax(logits / 4), softmax(array(taught.outputs[0]) / 4)
    by_outputs = 16 * (wanted * np.log(wanted / soft)).sum(axis=1).mean()
    weight, bias = (array(value) for value in heads["hint"].parameters())
    by_features = ((features @ weight.T + bias - array(taught.features[0])) ** 2).mean()
    assert total.item() == pytest.approx(0.7 * by_outputs + 3 * by_features + 0.2 * by_labels, rel=1e-5)
    assert min(by_labels, by_outputs, by_features) > 0.1  # none of the three is lost in the others


def test_mixed_labels_count_by_their_shares(student, inputs) -> None:
    partner, share = torch.tensor([1, 1, 2, 0, 3, 1]), torch.tensor([1.0, 0.5, 0.75, 0.9, 0.6, 0.8])
    lesson = Lesson(student, parse_losses(("labels",)), label_loss="cross_entropy")
    logs = np.log(softmax(array(student(inputs))))
    rows = range(BATCH)
    expected = -(array(share) * logs[rows, LABELS.own] + (1 - array(share)) * logs[rows, partner]).mean()
    assert lesson(inputs, None, Labels(LABELS.own, partner, share)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["decoupled", "normalised"])
def test_of_a_batch_with_few_labels_all_are_taught_and_those_rows_labelled(student, inputs, taught, name) -> None:
    """Labels are known of two samples of six, where three were to be expected: they count for two thirds."""
    rows = torch.tensor([4, 1])
    some = Labels(LABELS.own[rows], rows=rows, weight=2 / 3)
    sum_of = parse_losses(("soft_targets=0.7", f"{name}=0.3", "labels=0.2"))
    total = Lesson(student, sum_of, label_loss="cross_entropy")(inputs, taught, some)
    logits, theirs = student(inputs), taught.outputs[0]
    expected = 0.7 * OUTPUT_LOSSES["soft_targets"].function(logits, theirs, labels=None, temperature=4.0)
    loss = OUTPUT_LOSSES[name]
    of_rows = loss.function(logits[rows], theirs[rows], labels=some.own, temperature=loss.temperature)
    expected = expected + 2 / 3 * (0.3 * of_rows + 0.2 * cross_entropy(logits[rows], some.own))
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_batch_without_any_label_is_taught_alone(student, inputs, taught) -> None:
    both, alone = (
        Lesson(student, parse_losses(texts), label_loss="cross_entropy")
        for texts in (("soft_targets", "decoupled", "labels=1"), ("soft_targets", "labels=0"))
    )
    assert both(inputs, taught, None).item() == alone(inputs, taught, None).item() > 0
    of_labels = Lesson(student, parse_losses(("labels",)), label_loss="cross_entropy")(inputs, taught, None)
    of_labels.backward()
    assert of_labels.item() == 0 and not any(weight.grad.any() for weight in student.parameters())


def test_the_temperature_asked_for_beats_the_losses_own(student, inputs, taught) -> None:
    losses = parse_losses(("soft_targets=1", "labels=0"))
    lesson = Lesson(student, losses, label_loss="cross_entropy", temperature=2.0)
    soft, wanted = softmax(array(student(inputs)) / 2), softmax(array(taught.outputs[0]) / 2)
    expected = 4 * (wanted * np.log(wanted / soft)).sum(axis=1).mean()
    assert lesson(inputs, taught, LABELS).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("every_output", [False, True])
def test_the_first_output_or_every_one_is_matched(inputs, every_output: bool) -> None:
    class Two(nn.Module):
        def forward(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"a": inputs, "b": 2 * inputs}

    lesson = Lesson(
        Two(), parse_losses(("squared_error=1",))[:1], label_loss="squared_error", every_output=every_output
    )
    total = lesson(inputs, Taught((inputs + 1, 2 * inputs + 3)), None)
    assert total.item() == pytest.approx((1 + 9) / 2 if every_output else 1, rel=1e-5)


def test_losses_are_in_float32_under_autocast(student, inputs, taught, monkeypatch) -> None:
    seen: list[tuple[str, torch.dtype, bool]] = []

    def note(what: str, *tensors: torch.Tensor) -> None:
        seen.extend((what, tensor.dtype, torch.is_autocast_enabled("cpu")) for tensor in tensors)

    losses = parse_losses(("soft_targets", "hint"))
    heads = build_heads(losses, [torch.zeros(2, 2)], [torch.zeros(2, 5)])
    heads["hint"].register_forward_pre_hook(lambda _, said: note("feature", *said[0], *said[1]))
    projectors = [part for part in heads["hint"].modules() if isinstance(part, nn.Linear)]
    assert len(projectors) == 1
    projectors[0].register_forward_hook(lambda _, __, projected: note("projected", projected))
    lesson = Lesson(student, losses, label_loss="cross_entropy", layers=["0"], heads=heads)
    half = Taught(taught.outputs, tuple(feature.bfloat16() for feature in taught.features))
    with torch.autocast("cpu", torch.bfloat16):
        total = lesson(inputs, half, LABELS)
        logits = student(inputs)
    assert logits.dtype == torch.bfloat16 and total.dtype == torch.float32
    assert seen == [("feature", torch.float32, False)] * 2 + [("projected", torch.float32, False)]
    alone = Lesson(student, parse_losses(("labels",)), label_loss="cross_entropy")
    with torch.autocast("cpu", torch.bfloat16):
        found = alone(inputs, None, LABELS)
    assert found.item() == pytest.approx(cross_entropy(logits.float(), LABELS.own).item(), abs=1e-7)


def test_a_peer_teaches_and_is_taught_but_passes_no_gradient_on(student, inputs) -> None:
    torch.manual_seed(7)
    peer = nn.Linear(3, 4)
    lesson = Lesson(student, parse_losses(("labels",)), label_loss="cross_entropy", peers=[peer])
    total = lesson(inputs, None, LABELS)
    total.backward()
    ours, theirs = softmax(array(student(inputs))), softmax(array(peer(inputs)))
    hot = np.eye(4)[LABELS.own]

    def kl(p: np.ndarray, q: np.ndarray) -> float:
        return float((p * np.log(p / q)).sum(axis=1).mean())

    by_labels = sum(-(hot * np.log(each)).sum(axis=1).mean() for each in (ours, theirs))
    assert total.item() == pytest.approx(by_labels + kl(theirs, ours) + kl(ours, theirs), rel=1e-5)
    # Of softmax logits z: cross-entropy has the gradient p - y, and KL(q || p) with q held fixed p - q.
    for net, said, other in ((student[1], ours, theirs), (peer, theirs, ours)):
        expected = ((said - hot) + (said - other)).mean(axis=0)
        np.testing.assert_allclose(array(net.bias.grad), expected, atol=1e-6)


def test_the_student_is_all_that_its_state_dict_holds(student) -> None:
    losses = parse_losses(("hint",))
    heads = build_heads(losses, [torch.zeros(2, 2)], [torch.zeros(2, 5)])
    lesson = Lesson(student, losses, label_loss="cross_entropy", layers=["0"], heads=heads, peers=[nn.Linear(3, 4)])
    assert set(student.state_dict()) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert len(list(lesson.parameters())) == 4 + 2 + 2


def test_projectors_learn_are_kept_in_checkpoints_and_never_ship(digits, make_net, tmp_path) -> None:
    plan = PLAN.model_copy(update={"losses": parse_losses(("hint=1", "standardised_logits")), "pairs": PAIRS})
    teacher, net = make_net(1, width=12), make_net(2, dropout=0)
    run = prepare(net, teacher=teacher, data=digits, plan=plan, place="cpu")
    projectors = list(run.state.heads.parameters())
    assert [tuple(value.shape) for value in projectors] == [(12, 8), (12,), (24, 16), (24,)]
    optimised = {id(value) for group in run.state.optimizer.param_groups for value in group["params"]}
    assert optimised == {id(value) for value in [*projectors, *net.parameters()]}
    before = [value.detach().clone() for value in projectors]
    for _ in range(3):
        advance(run)
    run.views.close()
    assert not any(torch.equal(one, other) for one, other in zip(before, projectors, strict=True))

    fresh = make_net(2, dropout=0)
    train(fresh, teacher=teacher, data=digits, plan=plan, checkpoint=tmp_path / "at", accelerator="cpu")
    kept = (tmp_path / "at" / "state-12.safetensors").read_bytes()
    assert b'"heads.0.hint' in kept
    assert fresh.state_dict().keys() == make_net(2).state_dict().keys()
    sizes = []
    for name, module in (("trained", fresh), ("never", make_net(2, dropout=0))):
        assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
        path = tmp_path / f"{name}.onnx"
        export_onnx(module.eval(), torch.zeros(1, 1, 8, 8), path, max_opset=17, max_ir=9)
        sizes.append(sorted(tuple(each.dims) for each in onnx.load(path).graph.initializer))
    assert sizes[0] == sizes[1] and (12, 8) not in sizes[0]


def test_heads_leave_the_rest_of_chance_as_it_was(digits, make_net, tmp_path, monkeypatch) -> None:
    """The control drops out what the student drops out: a projector's first weights are drawn beside the run."""

    class Silent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.projector = (0, 1), nn.Linear(3, 3)

        def forward(self, students: list[torch.Tensor], teachers: list[torch.Tensor]) -> torch.Tensor:
            return 0 * self.projector.weight.sum()

    silent = replace(FEATURE_LOSSES["hint"], module=lambda students, teachers: Silent())
    monkeypatch.setitem(FEATURE_LOSSES, "hint", silent)
    plan = PLAN.model_copy(update={"losses": parse_losses(("hint", "labels=1")), "pairs": PAIRS})
    ends = []
    for name, teacher in (("student", make_net(1)), ("control", None)):
        net = make_net(2, dropout=0.5)
        train(net, teacher=teacher, data=digits, plan=plan, checkpoint=tmp_path / name, accelerator="cpu")
        ends.append(net.state_dict())
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


@pytest.mark.parametrize("losses", [("labels",), ("labels", "soft_targets=0"), ("labels", "hint=0")])
def test_who_learns_from_labels_alone_never_asks_the_teacher(digits, make_net, losses) -> None:
    teacher, calls = make_net(1), []
    plan = PLAN.model_copy(update={"losses": parse_losses(losses)})
    run = prepare(make_net(2), teacher=teacher, data=digits, plan=plan, place="cpu")
    teacher.register_forward_pre_hook(lambda *_: calls.append(1))
    for _ in range(3):
        advance(run)
    run.views.close()
    assert not calls
    taught = plan.model_copy(update={"losses": parse_losses(("soft_targets",))})
    run = prepare(make_net(2), teacher=teacher, data=digits, plan=taught, place="cpu")
    calls.clear()
    for _ in range(3):
        advance(run)
    run.views.close()
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("losses", "lacks", "sentence"),
    [
        (("soft_targets=0", "labels=0"), {}, "every loss has weight 0"),
        (("labels",), {"labelled": False}, "leave --loss labels out"),
        (("soft_targets",), {"taught": False}, "--loss soft_targets needs a teacher"),
        (("hint", "labels=0"), {"taught": False}, "--loss hint needs a teacher"),
        (("hint",), {"paired": False}, "name some with --pair"),
        (("decoupled", "labels=0"), {"labelled": False}, "use standardised_logits"),
        (("normalised",), {"mixed": True}, "drop --mixup"),
    ],
)
def test_a_loss_that_lacks_something_says_what(losses, lacks, sentence) -> None:
    whole = {"taught": True, "labelled": True, "paired": True, "mixed": False}
    if lacks:
        check_losses(parse_losses(losses), **whole)
    with pytest.raises(UsageError, match=sentence) as refused:
        check_losses(parse_losses(losses), **{**whole, **lacks})
    assert "\n" not in str(refused.value)


def test_losses_of_weight_0_need_nothing() -> None:
    losses = parse_losses(("labels", "decoupled=0", "hint=0"))
    check_losses(losses, taught=False, labelled=True, paired=False, mixed=True)


def test_where_every_output_counts_labels_meet_all_of_them() -> None:
    class Detector(nn.Module):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return images[..., :2], images[..., 2:]

    labels = torch.zeros(1, 1, 6)
    labels[0, 0] = torch.tensor([0, 1, 0, 0, 8, 8])
    said = torch.tensor([[[-1.0, 0.5, 1, 1, 8, 7], [0.3, -2.0, 30, 30, 35, 35]]])
    lesson = Lesson(Detector(), parse_losses(("labels",)), label_loss="detection", every_output=True)
    assert lesson(said, None, Labels(labels)).item() == pytest.approx(detection(said, labels).item())
