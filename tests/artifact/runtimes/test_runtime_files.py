"""What lies beside the ONNX files of an artifact, and what is said where something cannot."""

import logging
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgekd.artifact.runtimes import openvino_ir
from edgekd.artifact.runtimes.files import write_runtime_files
from edgekd.artifact.runtimes.mobile import mobile_usability
from edgekd.artifact.runtimes.openvino_ir import write_ir
from edgekd.device import load_profile
from edgekd.results import Candidate
from edgekd.runtimes import RUNTIMES, Runtime
from edgekd.schemes.offered import PRECISION

small = runpy.run_path(str(Path(__file__).parents[2] / "latency" / "small_graphs.py"))


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A folder with a random convolution as model.onnx, and three inputs for it."""
    graph, rng = small["convolution"](filters=32), np.random.default_rng(1)
    [weights] = graph.graph.initializer
    weights.CopyFrom(onnx.numpy_helper.from_array(rng.standard_normal(weights.dims).astype(np.float32), weights.name))
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    folder = tmp_path / "artifact"
    (folder / "parity").mkdir(parents=True)
    onnx.save(graph, folder / "model.onnx")
    np.save(folder / "parity" / "input.npy", rng.standard_normal((3, 8, 10, 10)).astype(np.float32))
    return folder


def candidate(runtime: str = "onnxruntime", **session: str) -> Candidate:
    return Candidate(id="x", scheme="fp32", runtime=runtime, session=session, file="m.onnx", sha256="0" * 64)


def test_everything_that_an_app_could_embed_is_there_with_its_size(artifact: Path) -> None:
    pytest.importorskip("openvino")
    found = write_runtime_files(artifact, profile=load_profile("raspberry-pi-5"), chosen=candidate())
    assert found.left_out == ()
    assert {path.name for path in artifact.iterdir()} == {"model.onnx", "parity", *found.files}
    assert found.sizes_kib["model.ort"] == round((artifact / "model.ort").stat().st_size / 1024, 1)
    assert found.sizes_kib["libonnxruntime.so"] > 10_000
    assert (found.instruction_set, found.version) == ("AArch64", "1.31.1")
    assert "v1.31.1" in found.build["Linux"]


def test_the_graph_for_apps_has_its_own_and_its_operators_are_among_those_required(artifact: Path) -> None:
    graph = onnx.load(artifact / "model.onnx")
    graph.graph.node.append(onnx.helper.make_node("Softmax", ["y"], ["z"]))
    graph.graph.output[0].name = "z"
    onnx.save(graph, artifact / "app.onnx")
    np.save(artifact / "parity" / "raw0.npy", np.ones((1, 8, 10, 10), np.float32))
    found = write_runtime_files(artifact, profile=load_profile("jetson-nano"), chosen=candidate())
    assert found.files[:2] == ("model.ort", "app.ort")
    assert "Softmax" in (artifact / "required_operators.config").read_text()


def test_what_is_mapped_is_there_where_it_was_chosen(artifact: Path) -> None:
    chosen = candidate(file="model.mapped.onnx")
    found = write_runtime_files(artifact, profile=load_profile("jetson-nano"), chosen=chosen)
    weights = (artifact / "model.mapped.onnx.data").stat().st_size
    assert found.sizes_kib["model.mapped.onnx"] > weights / 1024 >= 9
    assert {"model.mapped.onnx", "model.mapped.onnx.data"} < set(found.files)


def test_a_graph_that_cannot_be_written_is_said_and_leaves_nothing(artifact: Path) -> None:
    (artifact / "model.onnx").write_bytes(b"no model")
    found = write_runtime_files(artifact, profile=load_profile("jetson-nano"), chosen=candidate())
    assert found.files == () and found.build == {} and found.sizes_kib == {}
    assert len(found.left_out) == 2 and all("model.onnx" in line for line in found.left_out)
    assert {path.name for path in artifact.iterdir()} == {"model.onnx", "parity"}


def test_the_phone_check_counts_nodes_and_partitions(artifact: Path, tmp_path: Path) -> None:
    named = {one.provider: one for one in mobile_usability(artifact / "model.onnx")}
    assert set(named) == {"NNAPI", "Core ML, neural network", "Core ML, ML program"}
    nnapi = named["NNAPI"]
    assert (nnapi.advice, nnapi.taken, nnapi.nodes, nnapi.partitions) == ("yes", 1, 1, 1)
    assert nnapi.sentence() == "NNAPI: yes, 1 of 1 nodes in 1 partition"
    graph = onnx.load(artifact / "model.onnx")
    graph.graph.node.extend(onnx.helper.make_node("Erf", [a], [b]) for a, b in (("y", "p"), ("p", "q")))
    graph.graph.node.append(onnx.helper.make_node("Relu", ["q"], ["z"]))
    graph.graph.output[0].name = "z"
    onnx.save(graph, tmp_path / "split.onnx")
    one = next(one for one in mobile_usability(tmp_path / "split.onnx") if one.provider == "NNAPI")
    assert (one.advice, one.taken, one.nodes, one.partitions) == ("no", 2, 4, 2)


def test_the_runtime_s_tools_leave_logging_as_it_is() -> None:
    program = (
        "import logging; from edgekd.artifact.runtimes.tools import runtime_tool; "
        "runtime_tool('ort_format_model'); print(logging.getLogger().handlers, "
        "logging.getLogger('ort_format_model.utils').getEffectiveLevel())"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["[]", str(logging.WARNING)] and said.stderr == ""


def test_the_runtime_s_tools_need_no_torch(tmp_path: Path) -> None:
    """Where torch is not installed: here its folder is hidden from the program."""
    program = (
        "import sys; sys.modules['torch'] = None; import importlib.util as u; find = u.find_spec; "
        "u.find_spec = lambda name, *rest: None if name == 'torch' else find(name, *rest); "
        "from edgekd.artifact.runtimes.tools import runtime_tool; "
        "runtime_tool('ort_format_model'); runtime_tool('mobile_helpers.usability_checker')"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ})


@pytest.mark.parametrize(
    ("session", "element"), [({}, "f32"), ({PRECISION: "f16"}, "f16"), ({PRECISION: "bf16"}, "f32")]
)
def test_the_ir_gives_the_same_answer_and_is_halved_only_where_openvino_runs_it_so(
    artifact: Path, tmp_path: Path, session: dict[str, str], element: str
) -> None:
    pytest.importorskip("openvino")
    chosen = candidate("openvino", **session)
    assert write_ir(artifact / "model.onnx", artifact, profile=load_profile("raspberry-pi-5"), chosen=chosen) == ""
    xml = (artifact / "model.xml").read_text()
    assert f'element_type="{element}"' in xml and str(tmp_path) not in xml
    given = np.load(artifact / "parity" / "input.npy")[:1]
    right, found = (RUNTIMES["openvino"].open(artifact / name).run([given])[0] for name in ("model.onnx", "model.xml"))
    np.testing.assert_allclose(found, right, atol=(1e-3 if element == "f16" else 1e-6) * np.abs(right).max())
    first = [(artifact / name).read_bytes() for name in openvino_ir.IR_FILES]
    write_ir(artifact / "model.onnx", artifact, profile=load_profile("raspberry-pi-5"), chosen=chosen)
    assert [(artifact / name).read_bytes() for name in openvino_ir.IR_FILES] == first


def test_no_ir_for_a_device_without_openvino_and_a_line_where_it_is_not_installed(artifact: Path, monkeypatch) -> None:
    model = artifact / "model.onnx"
    assert write_ir(model, artifact, profile=load_profile("jetson-nano"), chosen=candidate()) == ""
    monkeypatch.setattr(Runtime, "available", lambda _: False)
    said = write_ir(model, artifact, profile=load_profile("raspberry-pi-5"), chosen=candidate())
    assert said.endswith("not installed here; pip install 'edgekd[openvino]' brings it")
    assert not (artifact / "model.xml").exists()
