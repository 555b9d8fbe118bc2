"""Transformers: int8 products with floats between them hold what int8 throughout loses."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgekd.device import Numerics
from edgekd.exporting.onnx_export import export_onnx
from edgekd.parity import worst_sqnr_db
from edgekd.runtimes import predict_all
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.int8_products import int8_products
from edgekd.schemes.int8_static import int8_static

X86 = Numerics(activations="uint8", per_channel=True, reduce_range=False)
WORDS, WIDTH, LENGTH = 50, 32, 12


class Masked(nn.Module):
    """Attention in which the padding (index 0) is masked out by the least float, as encoders of text do it."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.query, self.key, self.value, self.head = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.words(tokens)
        mask = torch.where(tokens == 0, torch.finfo(torch.float32).min, 0.0)[:, None]
        weights = torch.softmax(self.query(x) @ self.key(x).transpose(1, 2) / WIDTH**0.5 + mask, dim=-1)
        return self.head((x + weights @ self.value(x)).mean(dim=1))


def sentences(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    ids = rng.integers(1, WORDS, (count, LENGTH))
    ids[np.arange(LENGTH) >= rng.integers(3, LENGTH, (count, 1))] = 0
    return ids


@pytest.mark.slow
def test_masked_scores_spoil_int8_throughout_and_not_int8_products(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data, model = sentences(160), tmp_path / "float.onnx"
    export_onnx(Masked().eval(), torch.from_numpy(data[:1]), model, max_opset=20, max_ir=10)
    exact = predict_all(model, [data[100:]])
    signals = {}
    for scheme in (int8_static, int8_products):
        out = tmp_path / f"{scheme.__name__}.onnx"
        done = scheme(model, out, calibration=CalibrationData(data[:100]), numerics=X86)
        assert done.file == out.name
        signals[scheme.__name__] = worst_sqnr_db(exact, predict_all(out, [data[100:]]))
    assert signals["int8_products"] > max(30, signals["int8_static"] + 5)
    written = onnx.load(tmp_path / "int8_products.onnx").graph
    made_by = {name: node.op_type for node in written.node for name in node.output}
    softmax = next(node for node in written.node if node.op_type == "Softmax")
    assert made_by[softmax.input[0]] != "DequantizeLinear"  # scores stay float


def test_where_convolutions_hold_the_weights_it_does_not_apply(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))
    images = np.random.default_rng(0).random((70, 3, 8, 8), np.float32)
    export_onnx(net.eval(), torch.from_numpy(images[:1]), tmp_path / "f.onnx", max_opset=20, max_ir=10)
    done = int8_products(tmp_path / "f.onnx", tmp_path / "q.onnx", calibration=CalibrationData(images), numerics=X86)
    assert done.file is None and "matrices and embeddings hold only 12 %" in str(done.skipped)
