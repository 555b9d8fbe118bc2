"""Students by the word they are chosen with, fitted to the task's classes, channels and image size."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edgekd.errors import BadInput, UsageError
from edgekd.students.build import build_student
from edgekd.students.macs import count_macs
from edgekd.students.pruning import rebuild
from edgekd.students.zoo import PROPOSALS, proposal

USER_FILE = """
from torch import nn

def build(num_classes):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))
"""


@pytest.fixture
def teacher() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 7))
    return net.eval()


@pytest.fixture
def image() -> Tensor:
    return torch.zeros(1, 3, 32, 32)


def test_macs_by_hand(teacher: nn.Module, image: Tensor) -> None:
    assert count_macs(teacher, image) == 30 * 30 * 16 * 3 * 9 + 16 * 7
    assert count_macs(teacher, torch.cat([image] * 4)) == count_macs(teacher, image)


def test_macs_of_published_network_and_mode_is_kept() -> None:
    import torchvision

    net = torchvision.models.resnet18().train()
    net.bn1.eval()
    assert round(count_macs(net, torch.zeros(1, 3, 224, 224)) / 1e9, 3) == 1.814
    assert net.training and net.layer1.training and not net.bn1.training


def test_none_is_a_copy_of_the_teacher(teacher: nn.Module, image: Tensor) -> None:
    student = build_student("none", teacher, image, num_classes=7)
    assert student.initialised and student.macs == student.teacher_macs
    assert student.module is not teacher and torch.equal(student.module(image), teacher(image))


def test_small_images_lose_the_stem_strides(teacher: nn.Module, image: Tensor) -> None:
    student = build_student("torchvision:resnet18", teacher, image, num_classes=7)
    assert not student.initialised
    assert student.module.conv1.stride == (1, 1) and isinstance(student.module.maxpool, nn.Identity)
    assert "conv1 and maxpool" in student.notes[0]
    rebuilt = rebuild(teacher, image, student.plan)
    rebuilt.load_state_dict(student.module.state_dict(), strict=True)
    assert torch.equal(rebuilt(image), student.module(image))


def test_large_images_keep_them_and_grey_images_are_taken(teacher: nn.Module) -> None:
    student = build_student("timm:mobilenetv2_035", nn.Identity(), torch.zeros(1, 1, 96, 80), num_classes=3)
    assert student.module.conv_stem.stride == (2, 2) and student.module.conv_stem.in_channels == 1
    assert student.module(torch.zeros(2, 1, 96, 80)).shape == (2, 3)
    assert len(student.notes) == 1 and "1 channels" in student.notes[0]


def test_seed_decides_the_weights_and_the_global_state_is_left_alone(teacher: nn.Module, image: Tensor) -> None:
    def first(seed: int) -> Tensor:
        student = build_student("timm:mobilenetv2_035", teacher, image, num_classes=7, seed=seed)
        return next(student.module.parameters())

    state = torch.get_rng_state()
    assert torch.equal(first(1), first(1)) and not torch.equal(first(1), first(2))
    assert torch.equal(state, torch.get_rng_state())


def test_own_file(tmp_path: Path, teacher: nn.Module, image: Tensor) -> None:
    file = tmp_path / "small.py"
    file.write_text(USER_FILE)
    student = build_student(f"{file}:build", teacher, image, num_classes=7)
    assert student.macs == 30 * 30 * 4 * 27 + 4 * 7 and student.origin == f"{file}:build"


def test_what_does_not_fit_is_one_sentence(teacher: nn.Module, image: Tensor) -> None:
    with pytest.raises(UsageError):
        build_student("smaller", teacher, image, num_classes=7)
    with pytest.raises(UsageError, match="did you mean 'mobilenetv2_1"):
        build_student("timm:mobilenetv2_10", teacher, image, num_classes=7)
    with pytest.raises(BadInput, match="does not run on inputs of shape"):
        build_student("timm:vit_tiny_patch16_224", teacher, image, num_classes=7)


def test_proposals_fit(teacher: nn.Module) -> None:
    image = torch.zeros(1, 3, 224, 224)
    for macs, name in PROPOSALS[:2]:
        module = build_student(f"timm:{name}", nn.Identity(), image, num_classes=1000).module
        assert count_macs(module, image) == pytest.approx(macs, rel=0.03)
        assert proposal(image, int(macs) + 1).endswith(f"--student timm:{name}")
    assert proposal(torch.zeros(1, 40), 10**6).endswith("file.py:build")
