"""ONNX Runtime's own format: what is written for Arm, what the device's runtime answers with it, what is refused."""

import runpy
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgekd.artifact.runtimes import ort_format
from edgekd.artifact.runtimes.ort_format import WRITE, write_mapped, write_ort
from edgekd.artifact.runtimes.reduced_build import OPERATORS, TYPES, build_lines, library_kib, write_operators
from edgekd.device import load_profile
from edgekd.emulation.outputs import emulated_outputs
from edgekd.emulation.runtime_library import find_library
from edgekd.errors import BadInput
from edgekd.latency.optimised import optimise
from edgekd.runtimes import RUNTIMES

small = runpy.run_path(str(Path(__file__).parents[2] / "latency" / "small_graphs.py"))
PI = load_profile("raspberry-pi-5")


@pytest.fixture(params=["float", "int8"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "int8":
        onnx.save(small["quantized_convolution"](), tmp_path / "model.onnx")
    else:
        float_model(tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def float_model(path: Path) -> None:
    graph = small["convolution"](filters=32)
    [weights] = graph.graph.initializer
    drawn = np.random.default_rng(1).standard_normal(weights.dims).astype(np.float32)
    weights.CopyFrom(onnx.numpy_helper.from_array(drawn, weights.name))
    onnx.save(graph, path)


def an_input(model: Path) -> np.ndarray:
    [spec] = RUNTIMES["onnxruntime"].open(model).inputs
    return np.random.default_rng(0).standard_normal([size or 1 for size in spec.shape], np.float32)


def operators(config: Path) -> set[str]:
    """Names of all operators in a file of required ones."""
    lines = [line for line in config.read_text().splitlines() if not line.startswith("#")]
    return {name.partition("{")[0] for line in lines for name in line.split(";")[2].split(",")}


def test_an_arm_build_s_decisions_are_in_the_file(model: Path, tmp_path: Path) -> None:
    write_ort(model, tmp_path / "model.ort", profile=PI, given=an_input(model))
    write_operators([tmp_path / "model.ort"], tmp_path)
    expected = {node.op_type for node in optimise(model, arm=True, layout=True).graph.node}
    assert operators(tmp_path / OPERATORS) == expected
    assert "ReorderInput" not in expected  # blocks of channels, as x86 lays them out


def test_the_layout_of_this_machine_s_vectors_is_for_this_machine_alone(tmp_path: Path) -> None:
    float_model(tmp_path / "model.onnx")
    given, found = an_input(tmp_path / "model.onnx"), {}
    for name in ("host", "intel-n100"):
        write_ort(tmp_path / "model.onnx", tmp_path / "model.ort", profile=load_profile(name), given=given)
        found[name] = b"ReorderInput" in (tmp_path / "model.ort").read_bytes()
    nodes = optimise(tmp_path / "model.onnx", arm=False, layout=True).graph.node
    own = any(node.op_type == "ReorderInput" for node in nodes)
    assert found == {"host": own, "intel-n100": False}


@pytest.mark.slow
def test_the_device_s_runtime_gives_the_same_answer_by_every_file(
    model: Path, tmp_path: Path, emulated_targets: str
) -> None:
    given, found = an_input(model), [model]
    for name, write in WRITE.items():
        write(model, tmp_path / name, profile=PI, given=given)
        found.append(tmp_path / name)
    right, *others = (
        emulated_outputs(path, [[given]], core="cortex-a76", version=emulated_targets)[0][0] for path in found
    )
    assert np.abs(right).max() > 0
    for other in others:
        np.testing.assert_allclose(other, right, atol=1e-5 * np.abs(right).max())


def test_weights_that_are_mapped_lie_outside_the_graph(tmp_path: Path) -> None:
    float_model(tmp_path / "model.onnx")
    given = an_input(tmp_path / "model.onnx")
    write_mapped(tmp_path / "model.onnx", tmp_path / "m.onnx", profile=PI, given=given)
    [tensor] = onnx.load(tmp_path / "m.onnx", load_external_data=False).graph.initializer
    assert tensor.data_location == onnx.TensorProto.EXTERNAL
    assert (tmp_path / "m.onnx.data").stat().st_size >= 4 * 32 * 8 * 3 * 3
    right, found = (RUNTIMES["onnxruntime"].open(tmp_path / name).run([given])[0] for name in ("model.onnx", "m.onnx"))
    np.testing.assert_allclose(found, right, atol=1e-5 * np.abs(right).max())


@pytest.mark.slow
def test_the_library_s_size_is_that_of_the_library(emulated_targets: str) -> None:
    sizes = {version: find_library(version) for version in ("1.23.0", emulated_targets)}
    assert sizes[emulated_targets] is not None
    for version, library in sizes.items():
        if library is not None:
            assert library_kib(version, arm=True) == round(library.stat().st_size / 1024, 1)
    assert library_kib("1.0.0", arm=True) is None


def test_types_stand_in_a_file_of_their_own(model: Path, tmp_path: Path) -> None:
    write_ort(model, tmp_path / "model.ort", profile=PI, given=an_input(model))
    write_operators([tmp_path / "model.ort"], tmp_path)
    plain, typed = ((tmp_path / name).read_text() for name in (OPERATORS, TYPES))
    assert operators(tmp_path / OPERATORS) == operators(tmp_path / TYPES)
    assert "{" not in plain and str(tmp_path) not in plain + typed
    assert plain.splitlines()[0] == "# Operators of model.ort"


def test_a_build_is_of_the_device_s_version_and_names_the_file(model: Path) -> None:
    lines = build_lines("1.23.0", arm=True)
    assert set(lines) == {"Linux", "Android"} and set(build_lines("1.23.0", arm=False)) == {"Linux"}
    for line in lines.values():
        assert line.startswith("git checkout v1.23.0 && ")
        assert f"--include_ops_by_config {TYPES} --enable_reduced_operator_type_support" in line


def test_a_file_that_computes_something_else_is_refused(model: Path, tmp_path: Path, monkeypatch) -> None:
    right, given = ort_format._convert, an_input(model)

    def wrong(source: Path, out: Path, entries: dict[str, str], *, own: bool) -> None:
        graph = onnx.load(source)
        for tensor in graph.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 4:
                tensor.CopyFrom(onnx.numpy_helper.from_array(1.01 * onnx.numpy_helper.to_array(tensor), tensor.name))
            if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4:
                tensor.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(tensor), tensor.name))
        onnx.save(graph, tmp_path / "other.onnx")
        right(tmp_path / "other.onnx", out, entries, own=own)

    monkeypatch.setattr(ort_format, "_convert", wrong)
    with pytest.raises(BadInput, match=r"model\.onnx computes something else"):
        write_ort(model, tmp_path / "model.ort", profile=PI, given=given)
    assert not (tmp_path / "model.ort").exists()


def test_a_model_of_two_files_has_no_place_in_it(model: Path, tmp_path: Path) -> None:
    graph, given = onnx.load(model), an_input(model)
    onnx.save(graph, model, save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    with pytest.raises(BadInput, match="keeps its weights beside it"):
        write_ort(model, tmp_path / "model.ort", profile=PI, given=given)
