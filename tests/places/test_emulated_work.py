"""Latency from counted instructions: which core is played for a device, and what is made of the counts."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.device import load_profile
from edgekd.errors import UsageError
from edgekd.latency.conversion import Work, milliseconds
from edgekd.latency.optimised import summarise_file
from edgekd.latency.predictions import predict_file
from edgekd.latency.predictor import predict_summary
from edgekd.places.emulated_work import counting, emulated_core


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A convolution of 32 to 64 channels, 3x3, on 28x28."""
    weights = numpy_helper.from_array(np.full((64, 32, 3, 3), 0.01, np.float32), "w")
    node = helper.make_node("Conv", ["input", "w"], ["logits"], "conv", pads=[1, 1, 1, 1])
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, channels, 28, 28))
        for name, channels in (("input", 32), ("logits", 64))
    ]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.mark.parametrize(
    ("device", "core"),
    [
        ("raspberry-pi-5", "cortex-a76"),
        ("raspberry-pi-4", "cortex-a72"),
        ("raspberry-pi-zero-2-w", "cortex-a53"),
        ("rk3566", "cortex-a76"),  # Cortex-A55: no QEMU in use has it, its instruction set is that of the A76
        ("jetson-nano", "cortex-a72"),  # Cortex-A57
    ],
)
def test_a_device_is_played_by_its_core_or_one_of_its_instruction_set(device: str, core: str) -> None:
    assert emulated_core(load_profile(device)) == core


def test_nothing_is_emulated_for_x86() -> None:
    with pytest.raises(UsageError, match="intel-n100 has no Arm processor"):
        emulated_core(load_profile("intel-n100"))


def test_counted_work_takes_the_place_of_what_is_expected(model: Path) -> None:
    profile = load_profile("raspberry-pi-5")
    summary = summarise_file(model, arm=True)
    work = Work("conv_3x3", "fp32", multiply=4e6, other=2e6)
    found = predict_summary(summary, profile, counted=[work])
    assert found.latency_ms is not None and found.latency_ms.word == "emulated"
    assert found.latency_ms.value == pytest.approx(
        milliseconds(work, profile.latency, profile.latency.threads), abs=1e-4
    )
    assert list(found.by_operator) == ["conv_3x3"]
    estimate = predict_summary(summary, profile)
    assert estimate.latency_ms is not None and estimate.latency_ms.word == "estimated"
    assert found.peak_memory_kib == estimate.peak_memory_kib


@pytest.mark.slow
def test_expected_and_emulated_instructions_of_a_convolution_agree(model: Path, emulated_targets: str) -> None:
    assert emulated_targets
    devices = ("raspberry-pi-5", "rk3588")  # one core and version: counted once
    count = counting(model)
    for device in devices:
        [expected] = predict_file(model, target=device).predictions
        [counted] = predict_file(model, target=device, count=count).predictions
        assert expected.latency_ms is not None and counted.latency_ms is not None
        assert counted.latency_ms.word == "emulated"
        assert counted.latency_ms.value == pytest.approx(expected.latency_ms.value, rel=0.1)
