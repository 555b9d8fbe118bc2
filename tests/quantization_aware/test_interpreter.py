"""Whole graphs, float and int8, against ONNX Runtime; and a graph of fixed batch run on many inputs at once."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import timm
import torch

from edgekd.device import Numerics
from edgekd.exporting.onnx_export import export_onnx
from edgekd.quantization_aware.interpreter import Interpreter
from edgekd.quantization_aware.student import Student
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.int8_static import int8_static

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


TINY = {
    "mobilenetv3_small_050": {},
    "convnext_atto": {"depths": (1, 1, 1, 1)},
    "vit_tiny_patch16_224": {"img_size": 64, "depth": 1},
}


def net(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=10, **TINY[name]).eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_float_and_int8_graphs_give_what_the_runtime_gives(name: str, tmp_path: Path, reference) -> None:
    inputs = np.random.default_rng(0).normal(0, 1, (4, 3, 64, 64)).astype(np.float32)
    float_file, int8_file = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    export_onnx(net(name), torch.from_numpy(inputs[:1]), float_file, max_opset=17, max_ir=8)
    numerics = Numerics(activations="uint8", per_channel=True, reduce_range=False)
    int8_static(float_file, int8_file, calibration=CalibrationData(inputs), numerics=numerics)
    with torch.no_grad():
        exact = Interpreter(onnx.load(float_file), "float")(torch.from_numpy(inputs))[0]
        integer = Interpreter(onnx.load(int8_file), "int8")(torch.from_numpy(inputs))[0]
        student = Student(onnx.load(int8_file), "int8", {})(torch.from_numpy(inputs))[0]
    assert relative(exact, reference(onnx.load(float_file), inputs)[0]) < 1e-5
    # A value on the edge between two codes may fall to either side, and moves what follows from it.
    assert relative(integer, reference(onnx.load(int8_file), inputs)[0]) < 0.01
    assert torch.equal(integer, student)


def relative(outputs: torch.Tensor, expected: np.ndarray) -> float:
    """The root mean square difference over that of the runtime's outputs."""
    return float(np.sqrt(np.square(outputs.numpy() - expected).mean() / np.square(expected).mean()))


def test_a_graph_of_fixed_batch_gives_the_same_for_many_inputs_as_for_each(uneven: tuple[Path, Path], images) -> None:
    graph = Interpreter(onnx.load(uneven[1]), "int8")
    assert graph.batch == 1
    inputs = torch.from_numpy(images[:5])
    together = graph(inputs)[0]
    assert together.shape == (5, 10)
    torch.testing.assert_close(together, torch.cat([graph(one[None])[0] for one in inputs]))


def test_a_published_detector_of_two_outputs(reference) -> None:
    path = SHARED / "models/ultraface/version-RFB-320.onnx"
    if not path.is_file():
        pytest.skip("the published detector is not beside the checkout")
    model = onnx.version_converter.convert_version(onnx.load(path), 17)
    inputs = np.random.default_rng(0).normal(0, 0.5, (2, 3, 240, 320)).astype(np.float32)
    with torch.no_grad():
        scores, boxes = Interpreter(model, path.name)(torch.from_numpy(inputs))
    assert scores.shape[1:] == (4420, 2)
    for actual, expected in zip((scores, boxes), reference(model, inputs), strict=True):
        np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-4, atol=1e-5)
