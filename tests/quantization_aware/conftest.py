from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from edgekd.device import Numerics
from edgekd.exporting.onnx_export import export_onnx
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.int8_static import int8_static


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The tensors here are tiny: on a busy machine a second thread only waits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def reference() -> Callable[[onnx.ModelProto, np.ndarray], list[np.ndarray]]:
    """What ONNX Runtime gives when it runs every node as written, nothing fused."""
    return _unfused


def _unfused(model: onnx.ModelProto, inputs: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    first = session.get_inputs()[0]
    size = first.shape[0] if isinstance(first.shape[0], int) else len(inputs)
    runs = [session.run(None, {first.name: inputs[at : at + size]}) for at in range(0, len(inputs), size)]
    return [np.concatenate(output) for output in zip(*runs, strict=True)]


class Uneven(nn.Module):
    """A CNN with an inverted residual, HardSwish, and one channel whose values are 20 times the others'."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.wide, self.deep = nn.Conv2d(16, 32, 1), nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.narrow, self.head = nn.Conv2d(32, 16, 1), nn.Linear(16, 10)
        with torch.no_grad():
            for parameter in (self.stem.weight, self.stem.bias):
                parameter[3] *= 20
            self.wide.weight[:, 3] /= 20

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        stem = self.stem(image).relu()
        block = self.narrow(nn.functional.relu6(self.deep(nn.functional.hardswish(self.wide(stem)))))
        return self.head(nn.functional.hardswish(block).amax((2, 3)))


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """1,536 handwritten digits, float32 (n, 1, 8, 8), 0 to 1."""
    return (load_digits().images[:1536, None] / 16.0).astype(np.float32)


@pytest.fixture(scope="session")
def uneven(tmp_path_factory: pytest.TempPathFactory, images: np.ndarray) -> tuple[Path, Path]:
    """The float file and the int8 file, one scale a tensor, that plain static quantization makes of `Uneven`."""
    torch.manual_seed(0)
    net = Uneven().eval()
    with torch.no_grad():
        net.head.bias -= net(torch.from_numpy(images[:200])).mean(0)  # else all outputs are nearly the same
    folder = tmp_path_factory.mktemp("uneven")
    float_file, int8_file = folder / "float.onnx", folder / "int8.onnx"
    export_onnx(net, torch.from_numpy(images[:1]), float_file, max_opset=17, max_ir=8)
    numerics = Numerics(activations="uint8", per_channel=False, reduce_range=False)
    int8_static(float_file, int8_file, calibration=CalibrationData(images[:200]), numerics=numerics)
    return float_file, int8_file
