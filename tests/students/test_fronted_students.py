"""Students behind fronts: what is pruned, counted, rebuilt from the plan, and refused; and teachers behind theirs."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from edgekd.errors import BadInput, UsageError
from edgekd.formats.read import LoadedModel
from edgekd.fronts.fronted import Fronted, parted
from edgekd.fronts.place import Place
from edgekd.fronts.table import build_fronts, parse_front
from edgekd.preprocessing import Preprocessing
from edgekd.recipe_file import make_recipe
from edgekd.students.build import build_student
from edgekd.students.macs import count_macs
from edgekd.students.pruning import rebuild
from edgekd.teachers.front import put_front

WAVEFORM = Preprocessing(identity=True, input_shape=(2000,), sample_rate=8000, origin={"input_shape": "the data"})


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3)),
    ).eval()


def fronted() -> Fronted:
    specs = [parse_front("log_mel=16"), parse_front("channel")]
    return Fronted(build_fronts(specs, Place((2000,), 8000)), net()).eval()


def loaded(module: nn.Module, **changes: object) -> LoadedModel:
    usual = {"kind": "state dict", "sha256": "", "input_shape": None, "metadata": {}, "notes": (), "trainable": True}
    return LoadedModel(module=module, **{**usual, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("spec", ["auto", "none", "timm:mobilenetv3_small_050"])
@pytest.mark.parametrize("texts", [(), ("bands=8",)])
def test_a_student_is_the_same_again_from_its_plan_and_weights(spec, texts):
    teacher, example = fronted(), torch.randn(1, 2000)
    front = build_fronts([parse_front(text) for text in texts], Place((1, 16, 26))) if texts else None
    student = build_student(spec, teacher, example, num_classes=3, keep_macs=0.5, front=front)
    again = rebuild(teacher, torch.zeros(1, 2000), json.loads(json.dumps(student.plan)))
    again.load_state_dict(student.module.state_dict())
    sounds = torch.randn(4, 2000)
    with torch.no_grad():
        assert torch.equal(again(sounds), student.module(sounds))
    assert student.macs == count_macs(student.module, example) and student.teacher_macs == count_macs(teacher, example)
    assert "behind log_mel" in student.origin


def test_pruning_leaves_the_front_alone_and_keeps_the_share_of_the_net_behind_it():
    teacher, example = fronted(), torch.randn(1, 2000)
    student = build_student("auto", teacher, example, num_classes=3, keep_macs=0.5)
    front, body = parted(student.module)
    assert torch.equal(front(example), teacher.front(example))
    frames = teacher.front(example)
    assert count_macs(body, frames) <= 0.5 * count_macs(teacher.body, frames)


def test_fitted_components_come_back_with_the_weights():
    table = torch.randn(100, 12)
    teacher = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3)).eval()
    front = build_fronts([parse_front("pca=12")], Place((12,), train=lambda: iter([table])))
    student = build_student("none", teacher, table[:1], num_classes=3, front=front)
    again = rebuild(teacher, table[:1], student.plan)
    assert not torch.equal(again(table), student.module(table))
    again.load_state_dict(student.module.state_dict())
    assert torch.equal(again(table), student.module(table))


def test_a_teacher_that_does_not_take_smaller_inputs_is_no_student_of_them():
    teacher = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3)).eval()
    front = build_fronts([parse_front("pca=4")], Place((12,), train=lambda: iter([torch.randn(50, 12)])))
    with pytest.raises(BadInput, match="does not run on inputs of 4, to which --student-input"):
        build_student("auto", teacher, torch.zeros(1, 12), num_classes=3, front=front)


@pytest.mark.parametrize("shape", [None, (None, 1, 16, 26), (None, 1, 16, None)])
def test_a_front_gives_a_channel_where_the_model_takes_one(shape):
    plan = make_recipe(model="m.pt", data="d", front=("log_mel=16",))
    teacher, how = put_front(plan, loaded(net(), input_shape=shape), WAVEFORM)
    with torch.no_grad():
        assert teacher.module(torch.zeros(2, *how.shape)).shape == (2, 3)
    assert how.shape == (2000,)


def test_frames_that_are_fixed_decide_the_length_unless_said():
    plan = make_recipe(model="m.pt", data="d", front=("log_mel=16",))
    _, how = put_front(plan, loaded(net(), input_shape=(None, 1, 16, 51)), WAVEFORM)
    assert how.shape == (4000,) and how.origin["input_shape"] == "the 51 frames that the model takes"
    said = make_recipe(model="m.pt", data="d", front=("log_mel=16",), duration="250ms")
    assert put_front(said, loaded(net(), input_shape=(None, 1, 16, 51)), WAVEFORM)[1].shape == (2000,)


def test_a_model_of_waveforms_with_a_channel_gets_it():
    raw = nn.Sequential(nn.Conv1d(1, 4, 9, stride=4), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3)).eval()
    teacher, how = put_front(make_recipe(model="m.pt", data="d"), loaded(raw), WAVEFORM)
    assert how.shape == (1, 2000) and teacher.module is raw


def test_an_onnx_file_gets_no_front():
    plan = make_recipe(model="m.onnx", data="d", front=("log_mel=16",))
    with pytest.raises(UsageError, match="cannot be put before an ONNX file"):
        put_front(plan, loaded(net(), kind="onnx", onnx_path=Path("m.onnx")), WAVEFORM)


def test_components_are_of_students_alone() -> None:
    table = Preprocessing(identity=True, input_shape=(8,))
    with pytest.raises(UsageError, match="--front pca has no components"):
        put_front(make_recipe(front=("pca=2",)), loaded(nn.Linear(2, 3)), table)
