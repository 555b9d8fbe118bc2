"""What a student must be before it is trained: of its teacher's outputs."""

from pathlib import Path

import pytest
import torch
from torch import nn

from edgekd.distillation.derive import derive_student
from edgekd.errors import BadInput
from edgekd.formats.read import LoadedModel

USER_FILE = """
from torch import nn

def forecast():
    return nn.Sequential(nn.Linear(6, 12), nn.Unflatten(1, (4, 3)))

def flat(num_classes):
    return nn.Linear(6, num_classes)
"""


@pytest.fixture
def forecaster() -> LoadedModel:
    """Four steps of three series from six numbers."""
    module = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 12), nn.Unflatten(1, (4, 3))).eval()
    return LoadedModel(
        module=module, kind="exported_program", sha256="", input_shape=None, metadata={}, notes=(), trainable=True
    )


def derive(folder: Path, name: str, teacher: LoadedModel) -> nn.Module:
    file = folder / "students.py"
    file.write_text(USER_FILE)
    spec, example = f"{file}:{name}", torch.zeros(1, 6)
    return derive_student(spec, teacher, example, outputs=12, keep_macs=None, latency_goal=None, seed=0).module


def test_outputs_of_any_rank_are_held_against_the_teachers(tmp_path: Path, forecaster: LoadedModel) -> None:
    assert derive(tmp_path, "forecast", forecaster)(torch.zeros(5, 6)).shape == (5, 4, 3)
    with pytest.raises(BadInput, match=r"returns \(1, 12\) for one input, but the teacher \(1, 4, 3\)"):
        derive(tmp_path, "flat", forecaster)
