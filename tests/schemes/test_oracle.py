"""Verdicts on small networks whose fusion is known: what is left, who is at fault, what leaving blocks float does."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from torch import nn

from edgekd.device import Numerics, load_profile
from edgekd.errors import UsageError
from edgekd.exporting.onnx_export import export_onnx
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.oracle import FusionVerdict, judge_fusion
from edgekd.schemes.table import SCHEMES

ARM, X86 = load_profile("raspberry-pi-5"), load_profile("intel-n100")
SIGNED = Numerics(activations="int8", per_channel=True, reduce_range=False)
INPUTS = np.random.default_rng(0).standard_normal((8, 3, 32, 32), np.float32)


def chain(width: int, activation: Callable[[], nn.Module]) -> nn.Module:
    """Four 3x3 convolutions of one width with an activation after each."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before in (3, width, width, width):
        layers += [nn.Conv2d(before, width, 3, padding=1), activation()]
    return nn.Sequential(*layers)


@pytest.fixture
def judged(tmp_path: Path) -> Callable[..., FusionVerdict]:
    def judge(module: nn.Module, profile=X86, numerics: Numerics | None = None) -> FusionVerdict:
        model, out = tmp_path / "float.onnx", tmp_path / "int8.onnx"
        export_onnx(module, torch.from_numpy(INPUTS[:1]), model, max_opset=20, max_ir=10)
        calibration = CalibrationData(INPUTS)
        SCHEMES["int8_static"](model, out, calibration=calibration, numerics=numerics or profile.numerics)
        return judge_fusion(model, out, profile)

    return judge


@pytest.mark.parametrize("profile", [ARM, X86])
def test_convolutions_with_relu_fuse_and_pay(judged: Callable[..., FusionVerdict], profile) -> None:
    verdict = judged(chain(64, nn.ReLU), profile)
    assert (verdict.left["QuantizeLinear"], verdict.left["DequantizeLinear"]) == (1, 1)
    assert verdict.left["float_products"] == 0
    assert verdict.pays and verdict.ratio.value < 0.6
    assert verdict.ratio.low < verdict.ratio.value < verdict.ratio.high
    assert (verdict.ratio.word, verdict.ratio.place, verdict.ratio.unit) == ("estimated", profile.name, "x")
    assert not [fault for fault in verdict.faults if fault.left.keys() - {"Transpose"}]


@pytest.mark.slow
def test_hard_swish_is_at_fault_for_the_pairs_around_it(judged: Callable[..., FusionVerdict]) -> None:
    verdict, plain = judged(chain(16, nn.Hardswish)), judged(chain(16, nn.ReLU))
    assert verdict.left["QuantizeLinear"] == verdict.left["DequantizeLinear"] == 1 + 4
    assert verdict.ratio.value > 1.3 * plain.ratio.value
    assert not verdict.pays
    guilty = [fault for fault in verdict.faults if fault.operator == "HardSigmoid"]
    assert len({fault.node for fault in guilty}) == 4
    for fault in guilty:
        assert fault.left == {"DequantizeLinear": 1, "QuantizeLinear": 1}
        assert "no integer kernel for HardSigmoid" in fault.why
        assert "ReLU instead of HardSwish" in fault.mend
    assert [fault.share for fault in verdict.faults] == sorted((f.share for f in verdict.faults), reverse=True)
    assert 0 < sum(fault.share for fault in verdict.faults) < 1


@pytest.mark.slow
def test_signed_activations_fuse_with_silu_on_arm_but_not_on_x86(judged: Callable[..., FusionVerdict]) -> None:
    arm = judged(chain(32, nn.SiLU), ARM)
    assert (arm.left["QuantizeLinear"], arm.left["float_products"]) == (1, 0)
    x86 = judged(chain(32, nn.SiLU), X86, SIGNED)
    assert x86.left["QuantizeLinear"] > 4 and not x86.pays
    assert x86.left["float_products"] == 4
    assert any("unsigned" in fault.why for fault in x86.faults)
    assert judged(chain(32, nn.SiLU), X86).ratio.value < 0.5 * x86.ratio.value


def test_a_file_against_itself_neither_pays_nor_has_faults(tmp_path: Path) -> None:
    path = tmp_path / "float.onnx"
    export_onnx(chain(16, nn.ReLU), torch.from_numpy(INPUTS[:1]), path, max_opset=20, max_ir=10)
    verdict = judge_fusion(path, path, ARM)
    assert (verdict.ratio.value, verdict.pays, verdict.faults, verdict.leave_float) == (1.0, False, (), ())
    assert verdict.left == {"float_products": 4}


@pytest.mark.slow
def test_leaving_the_proposed_nodes_float_costs_what_was_predicted(tmp_path: Path) -> None:
    """Wide convolutions that int8 speeds up three times, before narrow ones among activations without a kernel."""
    torch.manual_seed(0)
    narrow = [part for _ in range(4) for part in (nn.Conv2d(16, 16, 1), nn.ELU())]
    module = nn.Sequential(*list(chain(64, nn.ReLU))[:-2], nn.Conv2d(64, 16, 3, padding=1), nn.ELU(), *narrow)
    model, plain, mended = (tmp_path / f"{name}.onnx" for name in ("float", "plain", "mended"))
    export_onnx(module, torch.from_numpy(INPUTS[:1]), model, max_opset=20, max_ir=10)
    quantize(model, plain, [])
    before = judge_fusion(model, plain, X86)
    assert before.mended is not None and before.mended < 0.98 * before.ratio.value
    known = {node.name for node in onnx.load(model).graph.node}
    blocks = before.leave_float
    assert set(blocks) <= known
    narrow_ones = [node.name for node in onnx.load(model).graph.node if node.op_type == "Conv"][4:]
    assert set(narrow_ones) <= set(blocks)
    quantize(model, mended, list(blocks))
    after = judge_fusion(model, mended, X86)
    assert after.ratio.value == pytest.approx(before.mended, rel=0.1)
    assert after.leave_float == ()


def quantize(model: Path, out: Path, excluded: list[str]) -> None:
    quantize_static(
        model,
        out,
        Reader(),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=excluded,
    )


class Reader(CalibrationDataReader):
    def __init__(self) -> None:
        self.rows = iter(INPUTS)

    def get_next(self) -> dict[str, np.ndarray] | None:
        row = next(self.rows, None)
        return None if row is None else {"input": row[None]}


def test_names_stay_as_the_file_has_them(tmp_path: Path) -> None:
    model, out = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    export_onnx(chain(16, nn.ELU), torch.from_numpy(INPUTS[:1]), model, max_opset=20, max_ir=10)
    graph = onnx.load(model)
    for at, node in enumerate(graph.graph.node):
        node.name = f"<script>{at}\n::error"
    onnx.save(graph, model)
    quantize(model, out, [])
    verdict = judge_fusion(model, out, X86)
    assert {fault.node for fault in verdict.faults if fault.operator == "Elu"} <= {n.name for n in graph.graph.node}
    assert any(fault.node.startswith("<script>") for fault in verdict.faults)


def test_other_runtimes_are_not_guessed_at(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="onnxruntime"):
        judge_fusion(tmp_path / "a.onnx", tmp_path / "b.onnx", X86, runtime="openvino")
