"""int8 files of a small CNN trained on handwritten digits, and of a published one: numbers, signs, ceilings, bytes."""

import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from torch import nn

from edgekd.device import Numerics
from edgekd.errors import BadInput
from edgekd.exporting.onnx_export import export_onnx
from edgekd.onnx_graph import opset_of
from edgekd.parity import sqnr_db
from edgekd.runtimes import predict_batches
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.inspect_graph import operators_left
from edgekd.schemes.signal import check_signal
from edgekd.schemes.table import SCHEMES

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
ARM = Numerics(activations="int8", per_channel=True, reduce_range=False)
X86 = Numerics(activations="uint8", per_channel=True, reduce_range=False)


class Digits(NamedTuple):
    model: Path
    calibration: CalibrationData
    images: np.ndarray
    labels: np.ndarray


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    """A float CNN with batch norm, ReLU6, a residual sum and pooling, trained for seconds; 497 test images."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = load_digits()
    images = (data.images[:, None] / 16.0).astype(np.float32)
    module = Small()
    optimiser = torch.optim.Adam(module.parameters(), lr=5e-3)
    inputs, labels = torch.from_numpy(images[:1300]), torch.from_numpy(data.target[:1300])
    for step in range(160):
        chosen = torch.randperm(1300, generator=torch.Generator().manual_seed(step))[:128]
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(inputs[chosen]), labels[chosen]).backward()
        optimiser.step()
    path = tmp_path_factory.mktemp("digits") / "float.onnx"
    export_onnx(module, inputs[:1], path, max_opset=17, max_ir=8)
    return Digits(path, CalibrationData(images[:300]), images[1300:], data.target[1300:])


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.block = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.head = nn.Linear(32, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        stem = self.stem(image)
        return self.head(self.down(stem + self.block(stem)).mean((2, 3)))


def score(path: Path, digits: Digits) -> float:
    return float((predict_batches(path, [digits.images]).argmax(1) == digits.labels).mean())


def constants(path: Path) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}


def nodes(path: Path, *kinds: str) -> list[onnx.NodeProto]:
    return [node for node in onnx.load(path).graph.node if node.op_type in kinds]


@pytest.mark.parametrize("numerics", [ARM, X86])
def test_static_int8_keeps_score_and_signal(digits: Digits, tmp_path: Path, numerics: Numerics) -> None:
    out = tmp_path / "int8.onnx"
    result = SCHEMES["int8_static"](digits.model, out, calibration=digits.calibration, numerics=numerics)
    assert (result.scheme, result.file, result.skipped, result.notes) == ("int8_static", "int8.onnx", None, ())
    assert score(digits.model, digits) > 0.9
    assert score(out, digits) >= score(digits.model, digits) - 0.02
    assert sqnr_db(predict_batches(digits.model, [digits.images]), predict_batches(out, [digits.images])) > 20
    assert out.stat().st_size < 0.6 * digits.model.stat().st_size


@pytest.mark.parametrize(("numerics", "dtype"), [(ARM, np.int8), (X86, np.uint8)])
def test_activations_and_weights_have_the_signs_of_the_device(
    digits: Digits, tmp_path: Path, numerics: Numerics, dtype: type
) -> None:
    out = tmp_path / "int8.onnx"
    SCHEMES["int8_static"](digits.model, out, calibration=digits.calibration, numerics=numerics)
    values = constants(out)
    assert {values[node.input[2]].dtype for node in nodes(out, "QuantizeLinear")} == {np.dtype(dtype)}
    weights = [node for node in nodes(out, "DequantizeLinear") if node.input[0] in values]
    kinds = {values[node.input[0]].dtype for node in weights}
    assert kinds == {np.dtype(np.int8), np.dtype(np.int32)}  # int32: biases
    assert all((values[node.input[2]] == 0).all() for node in weights if values[node.input[0]].dtype == np.int8)


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_scale_per_channel_where_the_device_wants_it(digits: Digits, tmp_path: Path, per_channel: bool) -> None:
    out = tmp_path / "int8.onnx"
    numerics = ARM.model_copy(update={"per_channel": per_channel})
    SCHEMES["int8_static"](digits.model, out, calibration=digits.calibration, numerics=numerics)
    values = constants(out)
    scales = {
        node.input[0]: values[node.input[1]] for node in nodes(out, "DequantizeLinear") if node.input[0] in values
    }
    shapes = [(values[name].shape[0], np.atleast_1d(scale).shape[0]) for name, scale in scales.items()]
    convolutions = [
        (channels, count) for (channels, count), name in zip(shapes, scales, strict=True) if values[name].ndim == 4
    ]
    assert sorted(channels for channels, _ in convolutions) == [16, 16, 32]
    assert all(count == (channels if per_channel else 1) for channels, count in convolutions)


@pytest.mark.parametrize(("reduce_range", "largest"), [(True, 64), (False, 127)])
def test_reduced_range_keeps_a_bit_free(digits: Digits, tmp_path: Path, reduce_range: bool, largest: int) -> None:
    out = tmp_path / "int8.onnx"
    numerics = X86.model_copy(update={"reduce_range": reduce_range})
    SCHEMES["int8_static"](digits.model, out, calibration=digits.calibration, numerics=numerics)
    weights = [value for value in constants(out).values() if value.dtype == np.int8 and value.ndim >= 2]
    assert len(weights) == 4
    assert max(int(np.abs(value.astype(int)).max()) for value in weights) == largest


def test_every_convolution_fuses_with_its_neighbours_on_arm(digits: Digits, tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    SCHEMES["int8_static"](digits.model, out, calibration=digits.calibration, numerics=ARM)
    left = operators_left(out, arm=True)
    assert left["QLinearConv"] == 3 and left["QLinearAdd"] == 1 and left["QGemm"] == 1
    assert "Conv" not in left and left["QuantizeLinear"] <= 2
    # the same file under x86 decisions keeps float convolutions where a residual has two readers
    assert operators_left(out, arm=False).get("QLinearConv", 0) < 3
    assert operators_left(digits.model, arm=True).keys().isdisjoint({"QLinearConv", "QuantizeLinear"})


def test_logits_are_float_and_not_cut_at_the_calibrated_range(digits: Digits, tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    SCHEMES["int8_static"](digits.model, out, calibration=digits.calibration, numerics=ARM)
    assert [node.op_type for node in onnx.load(out).graph.node if "logits" in node.output] == ["Gemm"]
    logits = predict_batches(out, [digits.images])
    assert len(np.unique(logits)) > 256


def test_ceilings_and_names_of_the_float_file_stay(digits: Digits, tmp_path: Path) -> None:
    for name in ("fp32", "int8_dynamic", "int8_static"):
        out = tmp_path / f"{name}.onnx"
        result = SCHEMES[name](digits.model, out, calibration=digits.calibration, numerics=ARM)
        graph = onnx.load(out)
        assert (opset_of(graph), graph.ir_version) == (result.opset, result.ir_version) == (17, 8)
        assert ([one.name for one in graph.graph.input], [one.name for one in graph.graph.output]) == (
            ["input"],
            ["logits"],
        )
        assert {one.domain for one in graph.opset_import} <= {"", "com.microsoft"}
        assert not any(one.startswith(".") for one in os.listdir(tmp_path))


def test_dynamic_int8_leaves_convolutions_alone(digits: Digits, tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    SCHEMES["int8_dynamic"](digits.model, out, calibration=None, numerics=ARM)
    assert len(nodes(out, "Conv")) == 3 and not nodes(out, "ConvInteger")
    assert len(nodes(out, "MatMulInteger")) == 1
    assert score(out, digits) >= score(digits.model, digits) - 0.01


def test_an_lstm_has_one_scale_per_tensor_whatever_the_device_wants(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, steps = nn.LSTM(8, 16, batch_first=True).eval(), torch.randn(1, 5, 8)
    whole, out = tmp_path / "whole.onnx", tmp_path / "int8.onnx"
    export_onnx(LastStep(net), steps, whole, max_opset=17, max_ir=8)
    SCHEMES["int8_dynamic"](whole, out, calibration=None, numerics=ARM)
    (lstm,) = nodes(out, "DynamicQuantizeLSTM")
    values = constants(out)
    assert {values[name].size for name in lstm.input if name.endswith("_scale")} == {1}


class LastStep(nn.Module):
    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.lstm = lstm

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        return self.lstm(steps)[0][:, -1]


def test_dynamic_int8_takes_embeddings_along(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(500, 32), nn.Flatten(), nn.Linear(8 * 32, 3)).eval()
    ids = torch.randint(0, 500, (40, 8))
    whole, out = tmp_path / "whole.onnx", tmp_path / "int8.onnx"
    export_onnx(net, ids[:1], whole, max_opset=17, max_ir=8)
    SCHEMES["int8_dynamic"](whole, out, calibration=None, numerics=ARM)
    assert [value.itemsize for value in constants(out).values() if value.shape == (500, 32)] == [1]
    said, meant = (predict_batches(path, [ids.numpy()]) for path in (out, whole))
    assert sqnr_db(meant, said) > 30


def test_what_does_not_apply_is_skipped_with_a_reason_and_no_file(digits: Digits, tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    only_convolution = tmp_path / "conv.onnx"
    export_onnx(nn.Conv2d(1, 4, 3), torch.rand(1, 1, 8, 8), only_convolution, max_opset=17, max_ir=8)
    dynamic = SCHEMES["int8_dynamic"](only_convolution, out, calibration=None, numerics=ARM)
    static = SCHEMES["int8_static"](digits.model, out, calibration=None, numerics=ARM)
    assert (dynamic.file, static.file, out.exists()) == (None, None, False)
    assert "no MatMul, Gemm or LSTM" in str(dynamic.skipped) and "no calibration data" in str(static.skipped)
    SCHEMES["int8_static"](digits.model, out, calibration=digits.calibration, numerics=ARM)
    again = SCHEMES["int8_static"](out, tmp_path / "twice.onnx", calibration=digits.calibration, numerics=ARM)
    assert "quantized already" in str(again.skipped)


@pytest.mark.parametrize("poison", ["zeros", "unscaled"])
def test_the_floor_of_signal_catches_what_slipped_through(digits: Digits, tmp_path: Path, poison: str) -> None:
    images = digits.calibration.source
    images = np.zeros_like(images) if poison == "zeros" else images * np.float32(255)
    out = tmp_path / "int8.onnx"
    SCHEMES["int8_static"](digits.model, out, calibration=CalibrationData(images), numerics=ARM)
    signal = sqnr_db(predict_batches(digits.model, [digits.images]), predict_batches(out, [digits.images]))
    assert check_signal(signal) is not None


def test_an_old_opset_is_raised_with_a_note(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["input", "w"], ["logits"])],
        "old",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4, 6, 6])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7)
    onnx.save(model, tmp_path / "old.onnx")
    calibration = CalibrationData(np.random.default_rng(1).random((8, 3, 8, 8), np.float32))
    result = SCHEMES["int8_static"](tmp_path / "old.onnx", tmp_path / "q.onnx", calibration=calibration, numerics=ARM)
    assert (result.opset, result.ir_version) == (13, 7)
    assert result.notes == ("opset raised from 11 to 13, which int8 per channel needs",)


def test_a_graph_that_cannot_be_quantized_is_one_sentence_and_no_file(digits: Digits, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    model = onnx.load(digits.model)
    model.graph.node[0].input[1] = "nowhere"
    onnx.save(model, broken)
    with pytest.raises(BadInput, match=r"broken\.onnx: ONNX Runtime cannot quantize this graph") as refused:
        SCHEMES["int8_static"](broken, tmp_path / "q.onnx", calibration=digits.calibration, numerics=ARM)
    assert "\n" not in str(refused.value)
    assert sorted(os.listdir(tmp_path)) == ["broken.onnx"]


def test_the_same_bytes_in_two_processes(digits: Digits, tmp_path: Path) -> None:
    """Sets of strings are ordered by a hash that differs from process to process; the file must not show it."""
    np.save(tmp_path / "calibration.npy", digits.calibration.source[:40])
    program = (
        "import sys, numpy as np; from pathlib import Path; from edgekd.device import Numerics\n"
        "from edgekd.schemes.calibration import CalibrationData; from edgekd.schemes.table import SCHEMES\n"
        "model, data, out = map(Path, sys.argv[1:])\n"
        "numerics = Numerics(activations='int8', per_channel=True, reduce_range=False)\n"
        "for name in ('int8_static', 'int8_dynamic'):\n"
        "    calibration = CalibrationData(np.load(data))\n"
        "    SCHEMES[name](model, out / f'{name}.onnx', calibration=calibration, numerics=numerics)\n"
        "assert 'torch' not in sys.modules\n"
    )
    digests = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        arguments = [sys.executable, "-c", program, str(digits.model), str(tmp_path / "calibration.npy"), str(folder)]
        subprocess.run(arguments, check=True, env={**os.environ, "PYTHONHASHSEED": seed})
        files = sorted(folder.iterdir())
        assert [one.name for one in files] == ["int8_dynamic.onnx", "int8_static.onnx"]
        digests.append([hashlib.sha256(one.read_bytes()).hexdigest() for one in files])
    assert digests[0] == digests[1]


@pytest.mark.slow
def test_a_published_resnet_keeps_its_score(tmp_path: Path) -> None:
    if not SHARED.is_dir():
        pytest.skip("the shared CIFAR-10 pack and trained models are not beside this checkout")
    spec = importlib.util.spec_from_file_location("load_packs", SHARED / "data" / "load_packs.py")
    assert spec is not None and spec.loader is not None
    packs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(packs)
    pixels, labels, _ = packs.load(SHARED / "data" / "cifar10_test.npz")
    inputs = pixels.transpose(0, 3, 1, 2).astype(np.float32)
    model, out = SHARED / "models" / "mlperf-tiny-resnet8" / "resnet8.onnx", tmp_path / "int8.onnx"
    # the last 200 calibrate, the first 1,000 judge
    SCHEMES["int8_static"](model, out, calibration=CalibrationData(inputs[-200:]), numerics=ARM)
    scores = [(predict_batches(one, [inputs[:1000]]).argmax(1) == labels[:1000]).mean() for one in (model, out)]
    assert scores[0] == pytest.approx(0.863)
    assert scores[1] >= scores[0] - 0.01
    assert sqnr_db(predict_batches(model, [inputs[:1000]]), predict_batches(out, [inputs[:1000]])) > 20
