"""ONNX files: as teachers, and as something a stranger made."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgekd.errors import BadInput
from edgekd.formats import onnx_file
from edgekd.formats.onnx_file import (
    OnnxValue,
    external_files,
    onnx_inputs,
    onnx_outputs,
    read_onnx,
    read_whole_onnx,
)
from edgekd.formats.read import read_model

WEIGHT = np.arange(12, dtype=np.float32).reshape(4, 3)


def write(path: Path, batch: int | str = 1, **entries: str) -> Path:
    """logits = flatten(input) @ WEIGHT; with `entries` the weight lies in external data described by them."""
    weight = numpy_helper.from_array(WEIGHT, "weight")
    if entries:
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in entries.items():
            weight.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["input"], ["flat"]), helper.make_node("MatMul", ["flat", "weight"], ["logits"])],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 1, 2, 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 3])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"classes": '["x", "y", "z"]'})
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("batch", [1, 2, "n"])
def test_a_teacher_takes_any_batch(batch: int | str, tmp_path: Path) -> None:
    loaded = read_model(write(tmp_path / "m.onnx", batch))
    values = torch.randn(5, 1, 2, 2)
    assert torch.allclose(loaded.module(values), values.flatten(1) @ torch.from_numpy(WEIGHT), atol=1e-5)
    assert loaded.input_shape == (None, 1, 2, 2) and not loaded.trainable
    assert loaded.metadata == {"labels": ("x", "y", "z")} and loaded.onnx_path == tmp_path / "m.onnx"


def test_the_real_files_are_read(shared: Path) -> None:
    model = read_onnx(shared / "models/mlperf-tiny-resnet8/resnet8.onnx")
    (value,) = onnx_inputs(model)
    assert value.dtype == "float32" and value.shape is not None and set(value.shape[1:]) == {3, 32}
    assert len(onnx_outputs(read_onnx(shared / "models/ultraface/version-RFB-320.onnx"))) == 2


def test_inputs_leave_initializers_out(tmp_path: Path) -> None:
    model = read_onnx(write(tmp_path / "m.onnx", "n"))
    model.graph.input.append(helper.make_tensor_value_info("weight", TensorProto.FLOAT, [4, 3]))
    assert onnx_inputs(model) == (OnnxValue(name="input", dtype="float32", shape=("n", 1, 2, 2)),)


def test_external_data_beside_the_model_are_taken(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 16 + WEIGHT.tobytes())
    path = write(tmp_path / "m.onnx", location="w.bin", offset="16", length="48")
    values = torch.randn(2, 1, 2, 2)
    assert torch.allclose(read_model(path).module(values), values.flatten(1) @ torch.from_numpy(WEIGHT), atol=1e-5)
    assert external_files(path) == (tmp_path / "w.bin",)


def test_external_data_are_loaded_into_the_model(tmp_path: Path) -> None:
    """A range without a length goes on to the end of the file; only the tensor's own bytes are taken."""
    (tmp_path / "w.bin").write_bytes(b"\1" * 16 + WEIGHT.tobytes() + b"\1" * 9)
    model = read_whole_onnx(write(tmp_path / "m.onnx", location="w.bin", offset="16"))
    (tensor,) = model.graph.initializer
    assert tensor.data_location == TensorProto.DEFAULT and not tensor.external_data
    assert np.array_equal(numpy_helper.to_array(tensor), WEIGHT)
    assert external_files(write(tmp_path / "m.onnx")) == ()


def test_more_external_data_than_are_read_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    path = write(tmp_path / "m.onnx", location="w.bin")
    monkeypatch.setattr(onnx_file, "MAX_WEIGHTS", WEIGHT.nbytes)
    read_whole_onnx(path)
    monkeypatch.setattr(onnx_file, "MAX_WEIGHTS", WEIGHT.nbytes - 1)
    read_onnx(path)
    with pytest.raises(BadInput, match="48 bytes of external data, edgekd reads 47"):
        read_whole_onnx(path)


def test_external_data_described_twice_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    path = write(tmp_path / "m.onnx", location="w.bin")
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data.add(key="location", value="w.bin")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BadInput, match="described twice"):
        read_onnx(path)


def test_a_teacher_of_inputs_without_batch_or_channels_last_is_refused_when_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx")
    for sizes, message in (
        ([1, 2, 2, 1], "channels last"),
        ([4], r"has the shape \(4\); inputs must be \(batch, ...\)"),
    ):
        model = onnx.load(path)
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("input", TensorProto.FLOAT, sizes))
        (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(BadInput, match=message):
            read_model(tmp_path / "other.onnx")


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({"location": "../w.bin"}, "outside"),
        ({"location": "/etc/hostname"}, "outside"),
        ({"location": "link.bin"}, "link"),
        ({"location": "hard.bin"}, "link"),
        ({"location": "folder"}, "regular file"),
        ({"location": "linked/w.bin"}, "link"),
        ({"location": "none.bin"}, "not there"),
        ({"location": "w.bin", "offset": "1", "length": "48"}, "beyond the end"),
        ({"location": "w.bin", "offset": "-4", "length": "48"}, "beyond the end"),
        ({"location": "w.bin", "offset": "0", "length": "8"}, "48 are needed"),
        ({"location": "w.bin", "offset": "0x0"}, "no number"),
    ],
)
def test_unsafe_external_data_are_refused(entries: dict[str, str], expected: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "folder").mkdir(parents=True)
    for name in (tmp_path / "w.bin", folder / "w.bin", folder / "hard_origin.bin"):
        name.write_bytes(WEIGHT.tobytes())
    os.link(folder / "hard_origin.bin", folder / "hard.bin")
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    (folder / "linked").symlink_to(tmp_path)
    with pytest.raises(BadInput, match=expected):
        read_onnx(write(folder / "m.onnx", **entries))


def test_truncated_and_impossible_files(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx")
    content = path.read_bytes()
    for length in (0, 1, 40, len(content) - 3):
        path.write_bytes(content[:length])
        with pytest.raises(BadInput):
            read_onnx(path)
        with pytest.raises(BadInput):
            read_model(path)
    model = onnx.load_model_from_string(content)
    model.graph.initializer[0].dims[0] = 2**40
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BadInput, match="impossible shape"):
        read_onnx(path)


def test_the_light_part_needs_no_torch() -> None:
    code = "import sys, edgekd.formats.identify, edgekd.formats.onnx_file; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
