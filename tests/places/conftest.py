"""Small ONNX graphs of known cost, written on the spot, and the benchmark program in C for this machine."""

import os
import shutil
import subprocess
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture
def matmul_chain(tmp_path: Path) -> Callable[..., Path]:
    """Write x (batch, rows, width) through `count` MatMuls; every weight has 4 * width**2 bytes."""

    def write(name: str, *, count: int, rows: int = 32, width: int = 256, batch: int | str = 1) -> Path:
        rng = np.random.default_rng(0)
        weights = [
            numpy_helper.from_array(rng.standard_normal((width, width), np.float32) / np.float32(width**0.5), f"w{i}")
            for i in range(count)
        ]
        nodes = [helper.make_node("MatMul", [f"t{i}", f"w{i}"], [f"t{i + 1}"]) for i in range(count)]
        graph = helper.make_graph(
            nodes,
            "chain",
            [helper.make_tensor_value_info("t0", TensorProto.FLOAT, [batch, rows, width])],
            [helper.make_tensor_value_info(f"t{count}", TensorProto.FLOAT, [batch, rows, width])],
            weights,
        )
        path = tmp_path / f"{name}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path

    return write


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the benchmark program in C, built for this machine, and in `real` and `fake` a runtime each."""
    compiler = shutil.which("cc")
    if compiler is None:
        reason = "no C compiler here: the benchmark program in C is not tried"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    folder = tmp_path_factory.mktemp("program")
    for name in ("real", "fake"):
        (folder / name).mkdir()
    [library] = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")
    (folder / "real" / "libonnxruntime.so").symlink_to(library)
    with resources.as_file(resources.files("edgekd.emulation") / "sources") as sources:
        build = [compiler, "-O1", "-Wall", "-Werror", "-o", folder / "benchmark", sources / "benchmark.c", "-ldl"]
        subprocess.run(build, check=True)
    fake = Path(__file__).with_name("fake_runtime.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "fake" / "libonnxruntime.so", fake], check=True)
    return folder
