"""Modules of several kinds become ONNX files that compute the same, under the device's ceilings, byte by byte alike."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from edgekd.errors import BadInput
from edgekd.exporting import onnx_export
from edgekd.exporting.onnx_export import check_export, export_onnx, module_outputs, output_names
from edgekd.onnx_graph import canonical, opset_of

torch.set_num_threads(1)


class Net(nn.Module):
    """Convolution, batch norm with statistics of its own, a frozen submodule, pooling, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6(), nn.Dropout(0.5))
        self.head = nn.Linear(8, 5)
        self.body[1].running_mean.uniform_(-1, 1)
        self.body[1].running_var.uniform_(0.5, 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(image).mean((2, 3)))


class ManyOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
        features = self.convolution(image)
        return features.mean((2, 3)), {"features": features, "more": [features.sum(1), None]}


class Branching(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        total = image.mean((2, 3))
        return total * 2 if total.sum() > 0 else total


class Eigenvalues(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvals(image[0, 0]).real


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def example(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images[:1].copy())


@pytest.mark.parametrize(
    ("max_opset", "max_ir", "exporter"),
    [(22, 11, "dynamo"), (18, 8, "dynamo"), (17, 8, "torchscript"), (13, 7, "torchscript")],
)
@pytest.mark.slow
def test_ceilings_hold_and_the_exporter_is_recorded(tmp_path: Path, max_opset: int, max_ir: int, exporter: str) -> None:
    images = noise(8, 3, 12, 20)
    done = export_onnx(Net(), example(images), tmp_path / "m.onnx", max_opset=max_opset, max_ir=max_ir)
    model = onnx.load(tmp_path / "m.onnx")
    assert (done.exporter, done.opset, done.ir_version) == (exporter, opset_of(model), model.ir_version)
    assert done.opset == min(max_opset, 20) and done.ir_version <= max_ir
    assert bool(done.notes) == (exporter == "torchscript")
    assert [[d.dim_value for d in one.type.tensor_type.shape.dim] for one in model.graph.input] == [[1, 3, 12, 20]]
    assert (model.graph.input[0].name, [one.name for one in model.graph.output]) == ("input", ["logits"])
    (parity,) = check_export(Net().eval(), tmp_path / "m.onnx", images)
    assert parity.max_abs < 1e-5 and parity.cosine > 0.999999 and parity.sqnr_db > 90


def test_batch_norm_is_folded_and_dropout_gone(tmp_path: Path) -> None:
    export_onnx(Net(), torch.rand(1, 3, 8, 8), tmp_path / "m.onnx", max_opset=20, max_ir=10)
    kinds = {node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node}
    assert "Conv" in kinds and kinds.isdisjoint({"BatchNormalization", "Dropout"})


def test_the_module_is_left_in_the_mode_it_came_in(tmp_path: Path) -> None:
    module = Net().train()
    module.body[1].eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    export_onnx(module, torch.rand(1, 3, 8, 8), tmp_path / "m.onnx", max_opset=20, max_ir=10)
    assert module.training and module.body[3].training and not module.body[1].training
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_every_output_is_named_in_order_and_compared(tmp_path: Path) -> None:
    images = noise(8, 3, 8, 8)
    module = ManyOutputs().eval()
    done = export_onnx(module, example(images), tmp_path / "m.onnx", max_opset=20, max_ir=10)
    assert done.outputs == ("logits", "output_1", "output_2")
    found = check_export(module, tmp_path / "m.onnx", images)
    assert [one.output for one in found] == ["logits", "output_1", "output_2"]
    shapes = [
        [d.dim_value for d in one.type.tensor_type.shape.dim] for one in onnx.load(tmp_path / "m.onnx").graph.output
    ]
    assert shapes == [[1, 4], [1, 4, 6, 6], [1, 6, 6]]


def test_a_rebuilt_program_exports_like_its_module(tmp_path: Path) -> None:
    images = noise(8, 3, 12, 12)
    program = torch.export.export(Net().eval(), (example(images),))
    done = export_onnx(program.module(), example(images), tmp_path / "m.onnx", max_opset=20, max_ir=10)
    assert done.exporter == "dynamo"
    check_export(Net().eval(), tmp_path / "m.onnx", images)


def test_channels_last_weights_export_right(tmp_path: Path) -> None:
    images = noise(8, 3, 12, 12)
    module = Net().to(memory_format=torch.channels_last)
    export_onnx(module, example(images), tmp_path / "m.onnx", max_opset=20, max_ir=10)
    (found,) = check_export(Net().eval(), tmp_path / "m.onnx", images)
    assert found.sqnr_db > 100


def test_another_module_fails_parity(tmp_path: Path) -> None:
    images = noise(8, 3, 8, 8)
    export_onnx(Net(), example(images), tmp_path / "m.onnx", max_opset=20, max_ir=10)
    other = Net().eval()
    with torch.no_grad():
        other.head.weight[0, 0] += 0.1
    with pytest.raises(BadInput, match=r"m\.onnx: output 'logits' differs"):
        check_export(other, tmp_path / "m.onnx", images)


def test_a_branch_frozen_by_tracing_is_caught_on_more_inputs(tmp_path: Path) -> None:
    images = np.concatenate([np.ones((4, 3, 4, 4), np.float32), -np.ones((4, 3, 4, 4), np.float32)])
    done = export_onnx(Branching(), example(images), tmp_path / "m.onnx", max_opset=20, max_ir=10)
    assert done.exporter == "torchscript" and "data-dependent" in done.notes[0]
    with pytest.raises(BadInput, match="differs"):
        check_export(Branching().eval(), tmp_path / "m.onnx", images)


def test_a_graph_that_computes_something_else_is_a_failed_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = onnx_export.EXPORTERS["dynamo"]

    def wrong(module: nn.Module, *rest: Any) -> onnx.ModelProto:
        model = right(module, *rest)
        bias = next(one for one in model.graph.initializer if list(one.dims) == [5])
        bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(1), bias.name))
        return model

    monkeypatch.setitem(onnx_export.EXPORTERS, "dynamo", wrong)
    done = export_onnx(Net(), torch.rand(1, 3, 8, 8), tmp_path / "m.onnx", max_opset=20, max_ir=10)
    assert done.exporter == "torchscript" and "dB" in done.notes[0]


def test_a_slimming_that_fails_or_changes_the_result_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: onnx.ModelProto) -> onnx.ModelProto:
        raise RuntimeError("no idea\nwhat to do")

    monkeypatch.setattr(onnx_export.onnxslim, "slim", broken)
    done = export_onnx(Net(), torch.rand(1, 3, 8, 8), tmp_path / "m.onnx", max_opset=20, max_ir=10)
    assert done.notes == ("left as exported, because slimming failed: RuntimeError: no idea",)
    check_export(Net().eval(), tmp_path / "m.onnx", noise(8, 3, 8, 8))


def test_what_no_exporter_takes_is_one_sentence_with_the_operator(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadInput, match=r"linalg_eig.*\(dynamo\).*linalg_eigvals.*\(TorchScript\)") as refused:
        export_onnx(Eigenvalues(), torch.rand(1, 1, 4, 4), tmp_path / "m.onnx", max_opset=20, max_ir=10)
    assert "\n" not in str(refused.value)
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")


def test_the_file_is_whole_and_says_nothing_of_this_machine(tmp_path: Path) -> None:
    export_onnx(Net(), torch.rand(1, 3, 8, 8), tmp_path / "m.onnx", max_opset=20, max_ir=10)
    data = (tmp_path / "m.onnx").read_bytes()
    assert os.listdir(tmp_path) == ["m.onnx"]
    for trace in (b"site-packages", b"test_onnx_export", b"pytorch", b"pkg.torch", str(Path.home()).encode()):
        assert trace not in data
    model = onnx.load(tmp_path / "m.onnx")
    assert not any(tensor.HasField("data_location") and tensor.data_location for tensor in model.graph.initializer)
    onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


@pytest.mark.slow
def test_the_same_bytes_in_two_processes(tmp_path: Path) -> None:
    program = (
        "import sys, importlib.util, torch; from pathlib import Path\n"
        "from edgekd.exporting.onnx_export import export_onnx\n"
        "spec = importlib.util.spec_from_file_location('nets', sys.argv[1])\n"
        "nets = importlib.util.module_from_spec(spec); spec.loader.exec_module(nets)\n"
        "for opset in (20, 17):\n"
        "    path = Path(sys.argv[2]) / f'{opset}.onnx'\n"
        "    export_onnx(nets.Net(), torch.ones(1, 3, 8, 8), path, max_opset=opset, max_ir=10)\n"
    )
    (tmp_path / "there").mkdir()
    arguments = [sys.executable, "-c", program, __file__, str(tmp_path / "there")]
    subprocess.run(arguments, check=True, env={**os.environ, "PYTHONHASHSEED": "1"})
    for opset in (20, 17):
        here = tmp_path / f"{opset}.onnx"
        export_onnx(Net(), torch.ones(1, 3, 8, 8), here, max_opset=opset, max_ir=10)
        assert here.read_bytes() == (tmp_path / "there" / here.name).read_bytes()


def test_outputs_are_taken_one_image_at_a_time() -> None:
    class OneOnly(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            assert len(image) == 1
            return image.flatten(1)

    images = noise(3, 2, 2, 2)
    np.testing.assert_array_equal(module_outputs(OneOnly(), images)[0], images.reshape(3, 8))


def test_canonical_keeps_what_inner_graphs_use() -> None:
    value = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    outer = onnx.numpy_helper.from_array(np.ones(1, np.float32), "outer")
    unused = onnx.numpy_helper.from_array(np.ones(1, np.float32), "unused")
    branch = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["outer"], ["y"])], "branch", [], [value])
    choose = onnx.helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch, doc_string="/home/me")
    condition = onnx.helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, [])
    graph = onnx.helper.make_graph([choose], "g", [condition], [value], [outer, unused])
    imports = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    clean = canonical(onnx.helper.make_model(graph, opset_imports=imports, ir_version=10), max_ir=8)
    assert [one.name for one in clean.graph.initializer] == ["outer"]
    assert [(one.domain, one.version) for one in clean.opset_import] == [("", 17)]
    assert clean.ir_version == 8 and b"/home/me" not in clean.SerializeToString()
    onnx.checker.check_model(clean, full_check=True)


class Reader(nn.Module):
    """Token ids (batch, 12) to two numbers each for the sentence and for every token."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(50, 8)
        self.body = kind(8, 6, batch_first=True) if issubclass(kind, nn.RNNBase) else kind(8, 6, 3, padding=1)
        self.head = nn.Linear(6, 2)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = self.table(ids)
        recurrent = isinstance(self.body, nn.RNNBase)
        tokens = self.head(self.body(rows)[0] if recurrent else self.body(rows.transpose(1, 2)).transpose(1, 2))
        return tokens.mean(1), tokens


@pytest.mark.slow
@pytest.mark.parametrize("kind", [nn.Conv1d, nn.GRU, nn.LSTM])
def test_token_ids_through_every_kind_of_layer(kind: type[nn.Module], tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 50, (9, 12))
    module = Reader(kind).eval()
    found = export_onnx(
        module, torch.from_numpy(ids[:1]), tmp_path / "m.onnx", max_opset=20, max_ir=10, output="output"
    )
    assert found.outputs == ("output_0", "output_1")
    assert [parity.output for parity in check_export(module, tmp_path / "m.onnx", ids, found.outputs)] == [
        "output_0",
        "output_1",
    ]
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.INT64
    assert [dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim] == [1, 12]


def test_names_of_outputs() -> None:
    assert output_names(1) == ("logits",) and output_names(3) == ("logits", "output_1", "output_2")
    assert output_names(1, "output") == ("output",) and output_names(2, "output") == ("output_0", "output_1")
