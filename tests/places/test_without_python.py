"""An AArch64 device without Python, whose programs QEMU runs, behind a stand-in adb."""

import importlib.metadata
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.calibration import board
from edgekd.emulation.board import install_board_files
from edgekd.emulation.kit import find_kit
from edgekd.errors import BadInput
from edgekd.places import place as places
from edgekd.places.programs import COMPILED
from edgekd.places.timing import bench, compare

pytestmark = pytest.mark.slow

DEVICE = "adb://0123456789"
CORE = "cortex-a72"
TOOLS = ("chmod", "df", "mkdir", "mktemp", "rm", "sh", "test")
Chain = Callable[..., Path]

STAND_IN = """#!/bin/sh
# One device. Beside this file "lose" makes the next benchmark lose the connection once it has kept samples.
here=$(dirname "$0")
[ "$1" = -s ] && [ "$2" = 0123456789 ] || { echo "error: device '$2' not found" >&2; exit 1; }
shift 2
case $1 in
get-state) echo device ;;
push)
  cp "$2" "$3" || exit
  case $3 in */ld-linux-aarch64.so.1) mv "$3" "$3.arm64"; cp "$here/through-qemu" "$3" ;; esac ;;
shell)
  if [ -e "$here/lose" ]; then case $2 in *result.json*)
    rm "$here/lose"
    TMPDIR=$here/tmp PATH=$here/bin /bin/sh -c "$2" >/dev/null 2>&1 &
    for wait in $(seq 300); do grep -qs '"runs"' "$here"/tmp/*/*/result.json && break; sleep 0.1; done
    echo "error: closed" >&2
    exit 1 ;;
  esac; fi
  TMPDIR=$here/tmp PATH=$here/bin exec /bin/sh -c "$2" ;;
*) echo "unknown command $1" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def device(emulation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the stand-in, which is the `adb` on PATH; what is sent to the device is in the cache."""
    install_board_files(emulation)
    kit = find_kit(CORE, emulation)
    folder = tmp_path / "adb"
    for name in ("tmp", "bin", "system"):
        (folder / name).mkdir(parents=True)
    for name in ("proc", "sys"):  # what describes the core, and none of the kit's libraries
        (folder / "system" / name).symlink_to(kit.sysroot / name)
    environment = [f"{name}={value}" for name, value in kit.qemu.environment().items()]
    qemu = shlex.join(["env", "-i", *environment, *kit.qemu.command(kit.core.cpu, sysroot=folder / "system")])
    script(folder / "adb", STAND_IN)
    script(folder / "through-qemu", f'#!/bin/sh\nPATH=/usr/bin:/bin\nexec {qemu} "$0.arm64" "$@"\n')
    for tool in TOOLS:
        (folder / "bin" / tool).symlink_to(shutil.which(tool) or "")
    script(folder / "bin" / "uname", "#!/bin/sh\necho aarch64\n")
    script(
        folder / "bin" / "cat",
        f'#!/bin/sh\ntest -e "{folder}/system$1" && set -- "{folder}/system$1"\nexec {shutil.which("cat")} "$@"\n',
    )
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setattr(places, "BACK_OFF", (0.0, 0.0))
    return folder


def script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_a_device_is_timed_by_a_program_in_c(device: Path, matmul_chain: Chain, caplog) -> None:
    found = bench(matmul_chain("model", count=2), on=DEVICE, min_runs=10, min_seconds=0.0)
    assert found.place == found.latency.p50_ms.place == DEVICE and found.latency.p50_ms.word == "measured"
    assert len(found.samples_ms) == 10 and min(found.samples_ms) > 0 and found.cpu_ms.value > 0
    assert 0 < found.memory.import_kib < found.memory.load_kib <= found.memory.steady_kib
    assert found.runtime_version == importlib.metadata.version("onnxruntime")
    there = found.environment
    assert (there["program"], there["python"], there["architecture"]) == (COMPILED, None, "aarch64")
    assert "asimd" in there["flags"] and there["logical_cpus"] == 8 and there["disk_free_mib"] > 0
    assert list((device / "tmp").iterdir()) == []


def test_a_connection_cut_in_the_middle_goes_on_with_the_rest(device: Path, matmul_chain: Chain) -> None:
    (device / "lose").touch()
    found = bench(matmul_chain("model", count=1), on=DEVICE, min_runs=1, min_seconds=2.5)
    assert found.environment["processes"] == 2
    assert "the connection was lost, and the samples come from 2 processes" in found.disturbed
    seconds = sum(found.samples_ms) / len(found.samples_ms) * found.environment["runs"] / 1e3
    assert 1.5 < seconds < 4.0  # two and a half in all, not as many more
    assert list((device / "tmp").iterdir()) == []


def test_two_builds_are_compared_there(device: Path, matmul_chain: Chain) -> None:
    small, large = matmul_chain("small", count=1), matmul_chain("large", count=8)
    ratio = compare(small, large, on=DEVICE, processes=2, min_seconds=0.4, max_seconds=4.0)
    assert ratio.value > 2 and ratio.place == DEVICE


def test_what_is_given_is_fed_and_what_fails_is_said(device: Path, tmp_path: Path) -> None:
    table = numpy_helper.from_array(np.zeros((4, 2), np.float32), "table")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "index"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("index", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [table],
    )
    model, inputs = tmp_path / "model.onnx", tmp_path / "index.npy"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)
    np.save(inputs, np.array([3.0]))
    assert bench(model, on=DEVICE, inputs=inputs, min_runs=2, min_seconds=0.0).first_ms > 0
    np.save(inputs, np.array([77]))
    with pytest.raises(
        BadInput, match=r"model\.onnx on adb://0123456789: onnxruntime fails at the first run: .*idx=77"
    ):
        bench(model, on=DEVICE, inputs=inputs)


def test_doctor_says_what_is_sent_and_that_it_runs(device: Path, edgekd) -> None:
    done = edgekd("doctor", "--on", DEVICE, "--install", "--target", "raspberry-pi-4", "--json")
    seen = json.loads(done.stdout)
    checks = {one["name"]: one for one in seen["checks"]}
    assert checks["Python"]["found"] == "not there" and COMPILED in checks["benchmarks"]["found"]
    assert checks["benchmark program for AArch64"]["good"]
    assert checks["onnxruntime loads"]["found"].startswith("opset up to ")
    assert seen["environment"]["load"] >= 0 and seen["environment"]["architecture"] == "aarch64"
    assert list((device / "tmp").iterdir()) == []


def test_a_board_is_calibrated_that_way(
    device: Path, tmp_path: Path, matmul_chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = onnx.load(matmul_chain("graph", count=1))
    quick: dict[str, Any] = {"min_runs": 1, "min_seconds": 0.0, "max_seconds": 0.1}
    monkeypatch.setattr(board, "REFERENCE_GRAPHS", dict.fromkeys(("one", "one_int8"), lambda: graph))
    monkeypatch.setattr(board, "bench", lambda path, **asked: bench(path, **{**asked, **quick}))
    found = board.calibrate_board("raspberry-pi-4", on=DEVICE, out=tmp_path / "own.yaml")
    assert len(found.residuals) == 4 and DEVICE in (tmp_path / "own.yaml").read_text()
