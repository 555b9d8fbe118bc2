"""Shares by hand arithmetic, and weights that are shared before and after quantization."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from edgekd.device import Numerics
from edgekd.exporting.onnx_export import export_onnx
from edgekd.external_data import to_bytes
from edgekd.onnx_graph import tie, untie
from edgekd.runtimes import predict_all
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.share import Share, quantized_share
from edgekd.schemes.table import SCHEMES

X86 = Numerics(activations="uint8", per_channel=False, reduce_range=False)
INPUTS = np.random.default_rng(0).standard_normal((16, 32), np.float32)


class Mixed(nn.Module):
    """A convolution of 3 to 8 channels and a product of 8 x 10: 216 + 80 weights, 8 + 10 biases."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.first(x).relu().mean((2, 3)))


class Tied(nn.Module):
    """Two layers that are passed three times, so that each weight is read by several products."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(32, 64, bias=False), nn.Linear(64, 32, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            x = self.down(torch.relu(self.up(x)))
        return x


def exported(module: nn.Module, shape: tuple[int, ...], folder: Path) -> Path:
    path = folder / "float.onnx"
    torch.manual_seed(0)
    export_onnx(module, torch.randn(1, *shape), path, max_opset=20, max_ir=10)
    return path


def quantized(scheme: str, model: Path, inputs: np.ndarray) -> Path:
    out = model.with_name(f"{scheme}.onnx")
    SCHEMES[scheme](model, out, calibration=CalibrationData(inputs), numerics=X86)
    return out


def matrices(path: Path) -> list[onnx.TensorProto]:
    return [tensor for tensor in onnx.load(path).graph.initializer if len(tensor.dims) == 2]


def test_shares_by_hand(tmp_path: Path) -> None:
    model = exported(Mixed(), (3, 8, 8), tmp_path)
    images = np.random.default_rng(0).standard_normal((8, 3, 8, 8), np.float32)
    assert quantized_share(model, arm=False) == Share(parameters=0, macs=0, repeated_kib=0)
    weights, all_parameters = 216 + 80, 216 + 80 + 8 + 10
    static = quantized_share(quantized("int8_static", model, images), arm=False)
    assert static == Share(parameters=round(weights / all_parameters, 4), macs=1.0, repeated_kib=0)
    dynamic = quantized_share(quantized("int8_dynamic", model, images), arm=False)
    macs = 80 / (80 + 8 * 8 * 216)
    # The product's scale is multiplied by in a node of its own, and cannot be told from a parameter.
    assert (dynamic.parameters, dynamic.macs) == (round(80 / (all_parameters + 1), 4), round(macs, 4))


@pytest.mark.parametrize("scheme", ["fp32", "int8_static", "int8_dynamic"])
def test_weights_that_several_products_read_are_stored_once(tmp_path: Path, scheme: str) -> None:
    model = exported(Tied(), (32,), tmp_path)
    out = quantized(scheme, model, INPUTS)
    assert sorted(tuple(sorted(tensor.dims)) for tensor in matrices(out)) == [(32, 64), (32, 64)]
    assert quantized_share(out, arm=False).repeated_kib == 0
    exact, said = (predict_all(path, [INPUTS])[0] for path in (model, out))
    assert np.abs(exact - said).max() < 0.05 * np.abs(exact).max()


def test_untied_and_tied_again_a_graph_is_the_same(tmp_path: Path) -> None:
    path = exported(Tied(), (32,), tmp_path)
    model = onnx.load(path)
    before = to_bytes(model)
    untie(model)
    assert len([one for one in model.graph.initializer if len(one.dims) == 2]) == 6
    apart = tmp_path / "apart.onnx"
    onnx.save(model, apart)
    assert quantized_share(apart, arm=False).repeated_kib == 4 * 32 * 64 * 4 / 1024
    np.testing.assert_array_equal(predict_all(apart, [INPUTS])[0], predict_all(path, [INPUTS])[0])
    tie(model)
    used = {name for node in model.graph.node for name in node.input}
    kept = [one for one in model.graph.initializer if one.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    assert to_bytes(model) == before


def test_only_the_same_type_and_shape_is_tied_and_copies_turned_around_are_told(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((16, 32), np.float32)
    stored = {"one": values, "same": values, "flat": values.reshape(32, 16), "turned": values.T.copy(), "bits": values}
    products = [
        helper.make_node("MatMul", ["x", "one"], ["a"]),
        helper.make_node("MatMul", ["a", "turned"], ["b"]),
        helper.make_node("MatMul", ["b", "same"], ["c"]),
        helper.make_node("MatMul", ["c", "flat"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, 1, (1, 16)) for name in "xy"]
    tensors = [numpy_helper.from_array(value, name) for name, value in stored.items()]
    tensors[-1].data_type = onnx.TensorProto.INT32
    graph = helper.make_graph(products, "g", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    assert quantized_share(path, arm=False).repeated_kib == 2 * values.nbytes / 1024
    tie(model)
    assert [node.input[1] for node in model.graph.node] == ["one", "turned", "one", "flat"]
