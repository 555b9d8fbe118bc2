"""A net that plain int8 breaks, taken through the stage: the ladder is climbed until the score is back."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from edgekd.device import resolve
from edgekd.exporting.onnx_export import export_onnx
from edgekd.preprocessing import Preprocessing
from edgekd.progress import silent
from edgekd.runtimes import predict_batches
from edgekd.schemes.ladder import RUNGS
from edgekd.stages.quantize import Quantized, quantize
from edgekd.tasks.classification import CLASSIFICATION


class HardSwishNet(nn.Module):
    """Two HardSwish convolutions with a linear bottleneck between them, whose channel 3 can be scaled unseen."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.Hardswish())
        self.narrow = nn.Conv2d(16, 12, 1)
        self.wide = nn.Sequential(nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.Hardswish())
        self.head = nn.Linear(24, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.wide(self.narrow(self.stem(image))).mean((2, 3)))

    def plant(self, factor: float) -> None:
        """Scale one channel of the bottleneck, and divide its reader's weights by as much: the same function."""
        with torch.no_grad():
            self.narrow.weight[3] *= factor
            self.narrow.bias[3] *= factor
            self.wide[0].weight[:, 3] /= factor


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, HardSwishNet]:
    """A folder of splits of handwritten digits, and a net trained on them for seconds."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    folder, data = tmp_path_factory.mktemp("digits"), load_digits()
    images = (data.images[..., None] / 16 * 255).astype(np.uint8)
    for name, part in (("train", slice(0, 1000)), ("val", slice(1000, 1400)), ("test", slice(1400, None))):
        np.save(folder / f"{name}_inputs.npy", images[part])
        np.save(folder / f"{name}_labels.npy", data.target[part].astype(np.int64))
    net = HardSwishNet()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    inputs = torch.from_numpy(images[:1000].astype(np.float32).transpose(0, 3, 1, 2) / 255)
    labels = torch.from_numpy(data.target[:1000])
    for step in range(300):
        chosen = torch.randperm(1000, generator=torch.Generator().manual_seed(step))[:128]
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(inputs[chosen]), labels[chosen]).backward()
        optimiser.step()
    return folder, net.eval()


def climbed(net: HardSwishNet, data: Path, out: Path) -> Quantized:
    model = out / "float.onnx"
    export_onnx(net, torch.zeros(1, 1, 8, 8), model, max_opset=20, max_ir=10)
    return quantize(
        out,
        model=model,
        teacher=model,
        schemes=("fp32", "int8_static"),
        runtimes=("onnxruntime",),
        rungs=RUNGS,
        profile=resolve("raspberry-pi-5").profile,
        preprocessing=Preprocessing(height=8, width=8, channels=1, mean=(0.0,), std=(1.0,)),
        task=CLASSIFICATION,
        data=data,
        loaded=data,
        classes=10,
        calibration_images=512,
        drop=None,
        seconds=120,
        seed=0,
        listen=silent,
    )


def score(path: Path, data: Path) -> float:
    images = np.load(data / "test_inputs.npy").astype(np.float32).transpose(0, 3, 1, 2) / 255
    return float((predict_batches(path, [images]).argmax(1) == np.load(data / "test_labels.npy")).mean())


@pytest.mark.slow
def test_a_planted_channel_collapses_plain_int8_and_the_ladder_brings_it_back(
    trained: tuple[Path, HardSwishNet], tmp_path: Path
) -> None:
    data, net = trained
    (tmp_path / "sound").mkdir()
    sound = climbed(net, data, tmp_path / "sound")
    assert [(step.scheme, step.inside) for step in sound.ladder] == [("int8_static", True)]
    net.plant(100.0)
    found = climbed(net, data, tmp_path)
    first, last = found.ladder[0], found.ladder[-1]
    exact = score(tmp_path / "fp32.onnx", data)
    assert exact > 0.85
    assert first.scheme == "int8_static" and not first.inside
    assert score(tmp_path / "int8_static.onnx", data) < exact - 0.1
    assert last.inside and last.score is not None and last.score >= last.enough
    assert score(tmp_path / f"{last.scheme}.onnx", data) >= exact - 0.01
