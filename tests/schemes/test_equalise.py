"""Equalisation: the arithmetic of one link, the same function afterwards, and a planted channel that is recovered."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgekd.device import Numerics
from edgekd.exporting.onnx_export import export_onnx
from edgekd.onnx_graph import run_graph
from edgekd.parity import sqnr_db
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.equalise import equalised
from edgekd.schemes.links import find_links
from edgekd.schemes.qdq import with_pairs
from edgekd.schemes.quantizer import prepare
from edgekd.schemes.ranges import find_ranges

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
PER_CHANNEL = Numerics(activations="uint8", per_channel=True, reduce_range=False)
PER_TENSOR = PER_CHANNEL.model_copy(update={"per_channel": False})


def graph(nodes: list[onnx.NodeProto], constants: dict[str, list], shapes: dict[str, list[int]]) -> onnx.ModelProto:
    """A graph from "x" to "y" with the shapes of all tensors."""
    values = {name: np.asarray(value, np.int64 if name == "axes" else np.float32) for name, value in constants.items()}
    infos = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    inner = [info for name, info in infos.items() if name not in ("x", "y")]
    initializers = [numpy_helper.from_array(value, name) for name, value in values.items()]
    whole = helper.make_graph(nodes, "g", [infos["x"]], [infos["y"]], initializers, value_info=inner)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def values(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


def two_products() -> onnx.ModelProto:
    """x (1, 2) times diag(8, 2), plus (0, -1), ReLU, times one column of ones."""
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "w2"], ["y"], name="second"),
    ]
    constants = {"w1": [[8, 0], [0, 2]], "b1": [0, -1], "w2": [[1], [1]]}
    return graph(nodes, constants, {"x": [1, 2], "h": [1, 2], "r": [1, 2], "y": [1, 1]})


def test_channels_meet_in_the_middle_of_what_they_reach_and_what_reads_them() -> None:
    # After ReLU the two channels reach 8 x 0.5 = 4 and 2 x 1 - 1 = 1; both are read by 1. So s = sqrt(4) : sqrt(1).
    data = CalibrationData(np.asarray([[0.5, 0], [-3, 1]], np.float32))
    found = equalised(two_products(), data, PER_CHANNEL)
    root = np.sqrt(2)
    assert found.tensors == ("h",)
    np.testing.assert_allclose(values(found.graph)["w1"], [[8 / root, 0], [0, 2 * root]], rtol=1e-6)
    np.testing.assert_allclose(values(found.graph)["b1"], [0, -root], rtol=1e-6)
    np.testing.assert_allclose(values(found.graph)["w2"], [[root], [1 / root]], rtol=1e-6)


def test_with_one_weight_scale_the_makers_weights_count() -> None:
    # 8 : 2 whatever the activations reach; a channel that is never active too has weights to round.
    data = CalibrationData(np.asarray([[0.5, 0], [-3, 9]], np.float32))
    found = values(equalised(two_products(), data, PER_TENSOR).graph)
    np.testing.assert_allclose(np.abs(found["w1"]).max(0) / found["w2"][:, 0], [4, 4], rtol=1e-6)


def test_a_channel_that_is_never_active_keeps_its_scale() -> None:
    data = CalibrationData(np.asarray([[0.5, 0.5], [-3, 0.25]], np.float32))  # 2 x 0.5 - 1 = 0
    found = values(equalised(two_products(), data, PER_CHANNEL).graph)
    assert found["w2"][1, 0] == 1 and found["b1"][1] == -1


class Chain(nn.Module):
    """Every operator that factors pass through, a depthwise layer and a flattened map."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.LeakyReLU(0.1)),
            *(nn.Conv2d(8, 12, 1), nn.Conv2d(12, 8, 3, groups=2), nn.PReLU(8), nn.AvgPool2d(2)),
            *(nn.Flatten(), nn.Linear(8 * 4 * 4, 16), nn.ReLU(), nn.Linear(16, 5)),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image)


class Encoder(nn.Module):
    """A layer norm before two products that share their bias' values; what follows the GELU is left alone."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(24), nn.Linear(24, 24), nn.Linear(24, 24)
        nn.init.uniform_(self.norm.weight, 0.1, 10)
        nn.init.ones_(self.up.bias)
        nn.init.ones_(self.norm.bias)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        tokens = image[:, 0, :, :24]
        return tokens + self.down(nn.functional.gelu(self.up(self.norm(tokens))))


class Closed(nn.Module):
    """Nothing to scale: ReLU6 and HardSwish cut at fixed places, and a sum has two makers."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        stem = nn.functional.relu6(self.one(image))
        return self.last(stem + self.three(nn.functional.hardswish(self.two(stem))))


def exported(module: nn.Module, folder: Path) -> onnx.ModelProto:
    export_onnx(module.eval(), torch.zeros(1, 3, 24, 24), folder / "float.onnx", max_opset=17, max_ir=8)
    return prepare(folder / "float.onnx").graph


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, 24, 24)).astype(np.float32)


@pytest.mark.parametrize("numerics", [PER_CHANNEL, PER_TENSOR])
@pytest.mark.parametrize(("kind", "links"), [(Chain, 5), (Encoder, 1), (Closed, 0)])
def test_the_function_stays(kind: type[nn.Module], links: int, numerics: Numerics, tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = exported(kind(), tmp_path)
    found = equalised(before, CalibrationData(images(8)), numerics)
    assert len(found.tensors) == links
    [expected], [actual] = run_graph(before, images(8, 1)), run_graph(found.graph, images(8, 1))
    assert np.abs(expected - actual).max() <= 1e-5 * np.abs(expected).max()
    changed = [name for name, value in values(before).items() if not np.array_equal(value, values(found.graph)[name])]
    assert bool(changed) == bool(links)


@pytest.mark.parametrize("name", ["mlperf-tiny-resnet8/resnet8.onnx", "ultraface/version-RFB-320.onnx"])
def test_published_networks_stay_the_same(name: str) -> None:
    path = SHARED / "models" / name
    if not path.is_file():
        pytest.skip("the published networks are not here")
    before = prepare(path).graph
    shape = [max(1, dim.dim_value) for dim in before.graph.input[0].type.tensor_type.shape.dim]
    data = np.random.default_rng(0).uniform(-1, 1, (4, *shape[1:])).astype(np.float32)
    found = equalised(before, CalibrationData(data), PER_TENSOR)
    assert len(found.tensors) >= 3
    for expected, actual in zip(run_graph(before, data), run_graph(found.graph, data), strict=True):
        assert np.abs(expected - actual).max() <= 1e-4 * np.abs(expected).max()


class Planted(nn.Module):
    """conv, ReLU, conv, and a linear bottleneck into a third; `factor` scales one channel of each, and back."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 8, 3), nn.Conv2d(8, 16, 1), nn.ReLU(), nn.Conv2d(16, 4, 3))
        )
        with torch.no_grad():
            for maker, reader in ((0, 2), (2, 3)):
                self.layers[maker].weight[1] *= factor
                self.layers[maker].bias[1] *= factor
                self.layers[reader].weight[:, 1] /= factor

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image)


@pytest.mark.parametrize("numerics", [PER_CHANNEL, PER_TENSOR])
def test_a_channel_scaled_100_times_is_recovered(numerics: Numerics, tmp_path: Path) -> None:
    data = CalibrationData(images(32))

    def signal(factor: float, equalise: bool) -> float:
        torch.manual_seed(0)
        graph = exported(Planted(factor), tmp_path)
        used = equalised(graph, data, numerics).graph if equalise else graph
        quantized = with_pairs(used, find_ranges(used, data, "minmax"), numerics)
        return sqnr_db(run_graph(graph, images(16, 1))[0], run_graph(quantized, images(16, 1))[0])

    sound = signal(1, equalise=False)
    assert signal(100, equalise=False) < 12 < 25 < sound
    assert signal(100, equalise=True) > sound - 1


def refused(kind: str) -> onnx.ModelProto:
    """Graphs of which no tensor may be scaled, each for one reason."""
    first = helper.make_node("Conv", ["x", "w1"], ["h"], name="first")
    shapes = {"x": [1, 2, 4, 2], "h": [1, 2, 4, 2], "y": [1, 2, 4, 2]}
    constants: dict[str, list] = {"w1": np.eye(2)[..., None, None].tolist(), "w2": np.eye(2)[..., None, None].tolist()}
    second = helper.make_node("Conv", ["h", "w2"], ["y"], name="second")
    if kind == "tied weights":
        second = helper.make_node("Conv", ["h", "w1"], ["y"], name="second")
    elif kind == "another reader":
        shapes["z"] = [1, 2, 4, 2]
        return graph(
            [first, helper.make_node("Conv", ["h", "w2"], ["z"]), helper.make_node("Mul", ["z", "h"], ["y"])],
            constants,
            shapes,
        )
    elif kind == "another axis":  # the width, of 2 as well, is what a matrix product reads
        constants["w2"] = np.eye(2).tolist()
        second = helper.make_node("MatMul", ["h", "w2"], ["y"])
    elif kind == "channels are averaged":
        shapes |= {"m": [1, 2], "y": [1, 2]}
        constants |= {"w2": np.eye(2).tolist(), "axes": [1, 2]}
        mean = helper.make_node("ReduceMean", ["h", "axes"], ["m"], keepdims=0)
        return graph([first, mean, helper.make_node("MatMul", ["m", "w2"], ["y"])], constants, shapes)
    return graph([first, second], constants, shapes)


@pytest.mark.parametrize(
    ("kind", "links"),
    [
        ("none", 1),
        ("tied weights", 0),
        ("another reader", 0),
        ("another axis", 0),
        ("channels are averaged", 0),
    ],
)
def test_what_may_be_scaled(kind: str, links: int) -> None:
    assert len(find_links(refused(kind))) == links
