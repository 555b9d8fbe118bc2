"""Models that one file does not hold: what is written beside it, and a whole run of one, with the limit lowered."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgekd
from edgekd import external_data
from edgekd.errors import BadInput
from edgekd.exporting.onnx_input import adopt_onnx
from edgekd.external_data import (
    PAGE,
    copy_onnx,
    data_file,
    graph_digest,
    loadable,
    size_kib,
    to_bytes,
    write_onnx,
)
from edgekd.formats.onnx_file import read_onnx
from edgekd.onnx_graph import run_graph
from edgekd.schemes.quantizer import prepare
from edgekd.schemes.table import SCHEMES
from edgekd.verification import verify
from edgekd.workspace import file_sha256

LIMIT = 70_000
CLASSES, HIDDEN, SIDE = 3, 64, 20
TEMPLATES = np.sign(np.random.default_rng(0).standard_normal((HIDDEN, 3, SIDE, SIDE))).astype(np.float32)


@pytest.fixture(autouse=True)
def low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external_data, "ONE_FILE", LIMIT)


def templates_model() -> onnx.ModelProto:
    """relu(flatten(input) @ WEIGHT + bias) @ head: how well an image matches each of three templates.

    300 kB of weights in one tensor, and two small ones.
    """
    weight = TEMPLATES.reshape(HIDDEN, -1).T / TEMPLATES[0].size
    stored = {"weight": weight, "bias": np.zeros(HIDDEN), "head": np.eye(HIDDEN, CLASSES)}
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["input"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weight", "bias"], ["match"]),
            helper.make_node("Relu", ["match"], ["matched"]),
            helper.make_node("MatMul", ["matched", "head"], ["logits"]),
        ],
        "templates",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def wide(*sizes: int) -> onnx.ModelProto:
    """One initializer of each size, float32."""
    stored = [numpy_helper.from_array(np.arange(size, dtype=np.float32), f"t{at}") for at, size in enumerate(sizes)]
    join = helper.make_node("Concat", [one.name for one in stored], ["t"], axis=0)
    output = helper.make_tensor_value_info("t", TensorProto.FLOAT, [sum(sizes)])
    graph = helper.make_graph([join], "wide", [], [output], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def entries(path: Path) -> dict[str, tuple[str, int, int]]:
    """Location, offset and length of what a graph's file leaves to another, by name."""
    tensors = onnx.load(path, load_external_data=False).graph.initializer
    told = {one.name: {entry.key: entry.value for entry in one.external_data} for one in tensors if one.external_data}
    return {name: (one["location"], int(one["offset"]), int(one["length"])) for name, one in told.items()}


def test_up_to_the_limit_a_model_is_one_file(tmp_path: Path) -> None:
    path, model = tmp_path / "m.onnx", wide(LIMIT // 4)
    write_onnx(path, model)
    assert path.read_bytes() == to_bytes(model) and not data_file(path).exists()
    write_onnx(path, wide(LIMIT // 4 + 1))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    write_onnx(path, model)
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


def test_large_tensors_begin_at_pages_and_small_ones_stay(tmp_path: Path) -> None:
    """20,000 floats end in the second page, so what follows begins at the third."""
    path, model = tmp_path / "m.onnx", wide(20_000, 10, PAGE // 4, PAGE // 4 - 1)
    write_onnx(path, model)
    assert entries(path) == {"t0": ("m.onnx.data", 0, 80_000), "t2": ("m.onnx.data", 2 * PAGE, PAGE)}
    assert data_file(path).stat().st_size == 3 * PAGE
    loaded = onnx.load(path)
    for before, after in zip(model.graph.initializer, loaded.graph.initializer, strict=True):
        assert before.name == after.name
        assert np.array_equal(numpy_helper.to_array(before), numpy_helper.to_array(after))
    assert size_kib(path) == round((path.stat().st_size + 3 * PAGE) / 1024, 1)
    assert read_onnx(path).graph.initializer[0].dims == [20_000]


def test_the_same_model_gives_the_same_bytes_and_a_weight_changes_both_files(tmp_path: Path) -> None:
    model = templates_model()
    files = [tmp_path / str(at) / "m.onnx" for at in range(3)]
    for at, path in enumerate(files):
        path.parent.mkdir()
        if at == 2:
            weights = numpy_helper.to_array(model.graph.initializer[0]).copy()
            weights[5, 7] += 1
            model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "weight"))
        write_onnx(path, model)
    first, again, changed = ((file_sha256(path), file_sha256(data_file(path))) for path in files)
    assert first == again
    assert first[0] != changed[0] and first[1] != changed[1]
    assert graph_digest(onnx.load(files[0])) == graph_digest(templates_model()) != graph_digest(model)


def test_a_copy_goes_without_its_source_and_may_be_moved(tmp_path: Path) -> None:
    write_onnx(tmp_path / "fp32.onnx", templates_model())
    folder = tmp_path / "artifact"
    folder.mkdir()
    copy_onnx(tmp_path / "fp32.onnx", folder / "model.onnx")
    assert data_file(folder / "model.onnx").read_bytes() == (tmp_path / "fp32.onnx.data").read_bytes()
    for file in (tmp_path / "fp32.onnx", tmp_path / "fp32.onnx.data"):
        file.unlink()
    folder.rename(tmp_path / "moved")
    [logits] = run_graph(tmp_path / "moved" / "model.onnx", TEMPLATES[:1])
    assert np.argmax(logits) == 0 and logits[0, 0] == pytest.approx(1, abs=1e-4)


def test_weights_that_are_not_raw_are_put_outside_too(tmp_path: Path) -> None:
    model = wide(30_000)
    values = numpy_helper.to_array(model.graph.initializer[0])
    model.graph.initializer[0].CopyFrom(helper.make_tensor("t0", TensorProto.FLOAT, values.shape, values))
    write_onnx(tmp_path / "m.onnx", model)
    assert data_file(tmp_path / "m.onnx").read_bytes() == values.tobytes()


def test_in_memory_it_runs_as_it_does_from_its_files(tmp_path: Path) -> None:
    model = templates_model()
    write_onnx(tmp_path / "m.onnx", model)
    inputs = TEMPLATES[:2]
    with loadable(model) as data:
        assert isinstance(data, str)
    assert not Path(data).exists()
    assert np.array_equal(run_graph(model, inputs)[0], run_graph(tmp_path / "m.onnx", inputs)[0])
    assert model.graph.initializer[0].HasField("raw_data")


def test_what_lies_inside_nodes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> bytes:
        raise ValueError("too large")

    monkeypatch.setattr(external_data.ModelProto, "SerializeToString", refuse, raising=False)
    with pytest.raises(BadInput, match="over 2 GiB in other places than initializers"):
        to_bytes(onnx.ModelProto())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A stranger's file of the templates model, its weights under a name of the stranger's."""
    path = tmp_path / "in" / "net.onnx"
    path.parent.mkdir()
    onnx.save(templates_model(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    labels = {"train": np.arange(330) % CLASSES, "test": np.arange(60) % CLASSES}
    clean = {name: 128 + 60 * TEMPLATES[y].transpose(0, 2, 3, 1) for name, y in labels.items()}
    pixels = {
        f"x_{name}": (one + rng.normal(0, 30, one.shape)).clip(0, 255).astype(np.uint8) for name, one in clean.items()
    }
    path = tmp_path / "images.npz"
    np.savez(path, **pixels, **{f"y_{name}": y for name, y in labels.items()})
    return path


@pytest.fixture
def options(images: Path) -> dict[str, object]:
    return {"student": "none", "data": images, "mean": "0.5,0.5,0.5", "std": "0.5,0.5,0.5"}


def test_an_opset_that_needs_converting_is_refused(source: Path, tmp_path: Path) -> None:
    """onnx's converter takes one message."""
    with pytest.raises(BadInput, match=r"opset 17.* at most 16, and what needs more than one file"):
        adopt_onnx(source, tmp_path / "m.onnx", shape=(3, SIDE, SIDE), max_opset=16, max_ir=8)
    old = templates_model()
    old.opset_import[0].version = 12
    write_onnx(tmp_path / "old.onnx", old)
    with pytest.raises(BadInput, match=r"int8 needs opset 13, the graph has 12, and"):
        prepare(tmp_path / "old.onnx")


@pytest.mark.slow
def test_every_scheme_writes_what_the_runtimes_load(source: Path, options: dict[str, object], tmp_path: Path) -> None:
    """The large matrix lies outside the graph in float and in int8, in twins too, and is counted with the file."""
    schemes = ("fp32", *(scheme for scheme in SCHEMES if scheme.startswith("int8")))
    found = edgekd.quantize(source, target="raspberry-pi-5", schemes=",".join(schemes), out=tmp_path / "run", **options)
    folder = tmp_path / "run" / "stages" / "quantize"
    for file in found.files:
        assert file.rejected is None and file.share is not None
        [(location, _, length)] = entries(folder / file.file).values()
        assert location == f"{file.file}.data"
        assert length == TEMPLATES.size * (1 if file.share.parameters > 0.5 else 4) < 1024 * file.size_kib
    static = next(file for file in found.files if file.scheme == "int8_static")
    assert static.twin is None or entries(folder / static.twin)
    without_file = {"int8_fused", "int8_nncf"}  # no operator pays; not installed everywhere
    assert {file.scheme for file in found.files} | without_file == set(schemes)


@pytest.mark.slow
def test_a_large_model_from_end_to_end(source: Path, options: dict[str, object], tmp_path: Path) -> None:
    """The artifact is moved away from the run and its source, then verified, estimated and timed."""
    options |= {"schemes": "fp32,int8_dynamic", "runtimes": "onnxruntime", "target": "host"}
    report = edgekd.compress(source, out=tmp_path / "run", **options)
    shipped = report.models["shipped"]
    assert shipped is not None and shipped.score is not None and shipped.score.value == 1.0
    assert {one.scheme: one.size_kib > 75 for one in report.candidates} == {"fp32": True, "int8_dynamic": True}
    artifact = tmp_path / "elsewhere"
    shutil.move(tmp_path / "run" / "artifact", artifact)
    shutil.rmtree(tmp_path / "run")
    shutil.rmtree(source.parent)
    listed = (artifact / "SHA256SUMS").read_text()
    assert f"{file_sha256(artifact / 'model.onnx.data')}  model.onnx.data\n" in listed
    assert "model.onnx.data" in json.loads((artifact / "manifest.json").read_text())["files"]
    assert verify(artifact).vectors == 8
    model = artifact / "model.onnx"
    assert "| `model.onnx.data` | their weights" in (artifact / "README.md").read_text()
    assert edgekd.predict(model, target="raspberry-pi-4").predictions[0].latency_ms is not None
    assert edgekd.bench(model, seconds=0.1, min_runs=5).model.sha256 == file_sha256(model)
    content = data_file(model).read_bytes()
    data_file(model).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BadInput, match=r"'model\.onnx\.data' has changed"):
        verify(artifact)
