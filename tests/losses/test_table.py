import pytest
import torch

from edgekd.errors import UsageError
from edgekd.losses.table import (
    FEATURE_LOSSES,
    LABEL_LOSSES,
    LABELS,
    OUTPUT_LOSSES,
    find_loss,
    parse_losses,
)


def weights(*texts: str) -> list[tuple[str, float]]:
    return [(loss.name, loss.weight) for loss in parse_losses(texts)]


def test_names_are_of_one_kind_of_loss():
    assert not set(OUTPUT_LOSSES) & set(FEATURE_LOSSES)
    assert LABELS not in {*OUTPUT_LOSSES, *FEATURE_LOSSES}


def test_what_is_left_out_is_the_tables():
    assert weights("soft_targets") == [("soft_targets", 0.9), ("labels", 0.1)]
    assert weights("standardised_logits") == [("standardised_logits", 9.0), ("labels", 0.1)]
    assert weights("decoupled", "attention_transfer=1000", "labels=0.5") == [
        ("decoupled", 1.0),
        ("attention_transfer", 1000.0),
        ("labels", 0.5),
    ]


def test_labels_weigh_as_the_first_loss_between_outputs_wants():
    assert weights("hint", "soft_targets", "decoupled")[-1] == ("labels", 0.1)
    assert weights("hint", "decoupled", "soft_targets")[-1] == ("labels", 1.0)
    assert weights("hint") == [("hint", 100.0), ("labels", 1.0)]
    assert weights("labels") == [("labels", 1.0)]
    assert weights("labels=0", "hint") == [("labels", 0.0), ("hint", 100.0)]


def test_spaces_around_a_name_and_its_weight_do_not_matter():
    assert weights(" hint = 2e1 ") == weights("hint=20")


@pytest.mark.parametrize("text", ["hint=-1", "hint=nan", "hint=inf", "hint=", "hint=much", "hint=1=2", "labels=-0.1"])
def test_a_weight_that_is_none_is_refused(text):
    with pytest.raises(UsageError) as refused:
        parse_losses((text,))
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(
    "texts", [("hint", "hint=2"), ("labels=1", "labels=1"), ("soft_targets", "hint", "soft_targets")]
)
def test_a_name_given_twice_is_refused(texts):
    with pytest.raises(UsageError, match=rf"'{texts[0].split('=')[0]}' is given twice.*{texts[-1]!r}"):
        parse_losses(texts)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="no loss 'decopled'; did you mean 'decoupled'"):
        find_loss("decopled")
    with pytest.raises(UsageError, match="no loss 'label'; did you mean 'labels'"):
        parse_losses(("label=1",))
    assert find_loss("hint") is FEATURE_LOSSES["hint"]
    assert find_loss("soft_targets") is OUTPUT_LOSSES["soft_targets"]


@pytest.mark.parametrize("name", [name for name in OUTPUT_LOSSES if name not in ("dense_heads", "dense_boxes")])
def test_losses_that_need_labels_say_so_and_others_ignore_them(name):
    loss = OUTPUT_LOSSES[name]
    student, teacher = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(4, 3)
    if loss.needs_labels:
        with pytest.raises(UsageError, match=f"'{name}' needs labels"):
            loss.function(student, teacher, labels=None, temperature=loss.temperature)
    else:
        values = [
            loss.function(student, teacher, labels=labels, temperature=loss.temperature)
            for labels in (None, torch.arange(4) % 3)
        ]
        assert torch.equal(*values)


def test_labels_losses_share_one_signature():
    outputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert LABEL_LOSSES["cross_entropy"](outputs, torch.tensor([0, 1, 2, 0]), label_smoothing=0.0) > 0
    assert LABEL_LOSSES["squared_error"](outputs, torch.zeros(4, 3), label_smoothing=0.0) > 0
