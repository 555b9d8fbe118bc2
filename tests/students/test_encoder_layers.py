"""Students of fewer layers: which they keep, that these are the teacher's, and that a stored plan rebuilds them."""

import json

import pytest
import torch
from torch import nn

from edgekd.errors import BadInput
from edgekd.students.build import build_student
from edgekd.students.encoder_layers import layer_stack
from edgekd.students.pruning import rebuild

WIDTH = 8


class Classifier(nn.Module):
    """An embedding, six transformer layers and a head over the mean."""

    def __init__(self, depth: int = 6) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True)
        self.table = nn.Embedding(20, WIDTH)
        self.body = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.other = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(9))
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.body(self.table(ids)).mean(1))
        return logits


@pytest.fixture
def teacher() -> Classifier:
    torch.manual_seed(0)
    made = Classifier().eval()
    with torch.no_grad():  # nn.TransformerEncoder copies one layer, so all would be alike
        for layer in made.body.layers:
            for parameter in layer.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return made


IDS = torch.arange(12).reshape(2, 6)


@pytest.mark.parametrize(("share", "kept"), [(0.5, [0, 2, 4]), (0.34, [0, 3]), (0.84, [0, 1, 2, 3, 4]), (0.17, [0])])
def test_layers_are_kept_evenly_with_their_weights(teacher: Classifier, share: float, kept: list[int]) -> None:
    student = build_student("auto", teacher, IDS[:1], num_classes=3, keep_macs=share)
    assert student.plan["kept"] == kept
    assert student.initialised
    by_hand = teacher.table(IDS)
    with torch.no_grad():
        for at in kept:
            by_hand = teacher.body.layers[at](by_hand)
        torch.testing.assert_close(student.module(IDS), teacher.head(by_hand.mean(1)))
    assert len(teacher.body.layers) == 6
    shared = {id(p) for p in teacher.parameters()} & {id(p) for p in student.module.parameters()}
    assert not shared


def test_a_stored_plan_rebuilds_the_architecture(teacher: Classifier) -> None:
    student = build_student("auto", teacher, IDS[:1], num_classes=3, keep_macs=0.5)
    again = rebuild(teacher, IDS[:1], json.loads(json.dumps(student.plan)))
    again.load_state_dict(student.module.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(again(IDS), student.module(IDS))


def test_less_than_one_layer_is_refused(teacher: Classifier) -> None:
    with pytest.raises(BadInput, match=r"15% of the teacher's 6 layers is under one; keep 17% or more"):
        build_student("auto", teacher, IDS[:1], num_classes=3, keep_macs=0.15)


def test_only_lists_of_attending_layers_are_stacks(teacher: Classifier) -> None:
    assert layer_stack(teacher) == "body.layers"
    assert layer_stack(Classifier(depth=1)) is None
    assert layer_stack(nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 2))) is None
