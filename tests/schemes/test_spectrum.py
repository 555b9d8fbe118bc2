"""Which nodes count as the way to a spectrum, and that int8 leaves them alone."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgekd.device import resolve
from edgekd.exporting.onnx_export import export_onnx
from edgekd.fronts.fronted import Fronted
from edgekd.fronts.place import Place
from edgekd.fronts.table import build_fronts, parse_front
from edgekd.parity import sqnr_db
from edgekd.runtimes import predict_all
from edgekd.schemes import qdq
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.int8_nncf import int8_nncf
from edgekd.schemes.int8_static import int8_static
from edgekd.schemes.int8_weights import int8_weights
from edgekd.schemes.spectrum import before_logarithm


def exported(net: nn.Module, example: torch.Tensor, path: Path) -> onnx.ModelProto:
    export_onnx(net.eval(), example, path, max_opset=20, max_ir=10)
    return onnx.load(path)


class LateLog(nn.Module):
    """A network that happens to end in the logarithm of a square."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(20, 20), nn.Linear(20, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.last(self.first(x).relu()).square() + 1).log()


class EarlyLog(nn.Module):
    """A network that takes the logarithm of its inputs, which are no powers."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(20, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x.clamp(min=1e-3).log())


def audio_net() -> nn.Module:
    torch.manual_seed(0)
    front = build_fronts([parse_front("log_mel=16"), parse_front("channel")], Place((4000,), 8000))
    body = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()),
        nn.Linear(128, 5),
    )
    return Fronted(front, body)


def sounds(count: int) -> np.ndarray:
    """Tones of 40 dB of difference in loudness."""
    rng, time = np.random.default_rng(0), np.arange(4000) / 8000
    loud = 10 ** rng.uniform(-2, 0, (count, 1))
    return (loud * np.sin(2 * np.pi * rng.uniform(100, 3000, (count, 1)) * time)).astype(np.float32)


def test_the_way_to_the_logarithm_is_found_and_a_networks_own_is_not(tmp_path):
    graph = exported(audio_net(), torch.from_numpy(sounds(1)), tmp_path / "a.onnx")
    names = set(before_logarithm(graph))
    inside = [node.op_type for node in graph.graph.node if node.name in names]
    assert sorted(inside) == ["Clip", "Conv", "Log", "MatMul", "Mul", "Pad", "Unsqueeze"]
    for other in (LateLog(), EarlyLog()):
        assert before_logarithm(exported(other, torch.ones(1, 20), tmp_path / "b.onnx")) == []


@pytest.mark.slow
def test_int8_is_sound_with_a_float_spectrum_and_broken_without(tmp_path, monkeypatch: pytest.MonkeyPatch):
    exported(audio_net(), torch.from_numpy(sounds(1)), tmp_path / "float.onnx")
    inputs, numerics = sounds(64), resolve("raspberry-pi-5").profile.numerics
    reference = predict_all(tmp_path / "float.onnx", [inputs])[0]

    def signal(name: str) -> float:
        done = int8_static(
            tmp_path / "float.onnx", tmp_path / name, calibration=CalibrationData(inputs), numerics=numerics
        )
        assert done.file == name
        return sqnr_db(reference, predict_all(tmp_path / name, [inputs])[0])

    kept = signal("kept.onnx")
    monkeypatch.setattr(qdq, "before_logarithm", lambda graph: [])
    assert kept > 20 and kept > signal("whole.onnx") + 10


@pytest.mark.parametrize("scheme", [int8_weights, int8_nncf])
def test_nodes_without_names_are_told_apart(tmp_path, scheme):
    """The filters before the logarithm stay float, the head after it does not."""
    if scheme is int8_nncf:
        pytest.importorskip("nncf")
    rng = np.random.default_rng(0)
    values = {"filters": rng.uniform(0, 1, (40, 8)), "head": rng.normal(size=(8, 64)), "floor": np.float32(1)}
    nodes = [
        helper.make_node("Mul", ["input", "input"], ["powers"]),
        helper.make_node("MatMul", ["powers", "filters"], ["bands"]),
        helper.make_node("Add", ["bands", "floor"], ["raised"]),
        helper.make_node("Log", ["raised"], ["levels"]),
        helper.make_node("MatMul", ["levels", "head"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 40])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 64])],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in values.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "float.onnx")
    data = CalibrationData(rng.normal(size=(64, 40)).astype(np.float32))
    numerics = resolve("raspberry-pi-5").profile.numerics
    result = scheme(tmp_path / "float.onnx", tmp_path / "int8.onnx", calibration=data, numerics=numerics)
    assert result.file == "int8.onnx", result.skipped
    kinds = {tuple(one.dims): one.data_type for one in onnx.load(tmp_path / "int8.onnx").graph.initializer}
    assert (kinds[40, 8], kinds[8, 64]) == (TensorProto.FLOAT, TensorProto.INT8)
