"""`bench --on emulate:CORE` and `doctor --on emulate:CORE`, without a time anywhere."""

import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekd.errors import UsageError
from edgekd.places.bench_file import bench_file
from edgekd.places.emulate import parse_emulated

HERE = importlib.metadata.version("onnxruntime")


@pytest.mark.slow
@pytest.mark.usefixtures("emulation")
def test_an_emulated_core_has_instructions_and_no_times(matmul_chain: Callable[..., Path]) -> None:
    path = matmul_chain("model", count=2, rows=32, width=64)
    result = json.loads(bench_file(path, place="emulate:cortex-a76").model_dump_json(by_alias=True))
    assert result["place"] == f"emulate:cortex-a76@{HERE}"
    assert [result[key] for key in ("latency", "load_ms", "first_ms", "memory")] == [None] * 4
    found = result["instructions"]
    assert found["word"] == "emulated" and found["difference_from_host"] < 1e-4
    by_hand = 2 * 32 * 64 * 64 // 4
    assert by_hand <= found["by_class"]["multiply_float"] <= 1.01 * by_hand
    assert found["by_operator"]["MatMul"]["multiply_float"] == found["by_class"]["multiply_float"]
    assert result["environment"]["runtime_version"] == HERE and result["environment"]["qemu"]


def test_the_version_is_that_of_this_machine_unless_said() -> None:
    assert parse_emulated("emulate:cortex-a72") == ("cortex-a72", HERE)
    assert parse_emulated("emulate:max@1.23.0") == ("max", "1.23.0")
    with pytest.raises(UsageError, match="no core"):
        parse_emulated("emulate:")


def test_other_runtimes_are_refused(matmul_chain: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="Only onnxruntime"):
        bench_file(matmul_chain("model", count=1), place="emulate:cortex-a76", runtime="openvino")


@pytest.mark.slow
def test_without_the_kit_the_command_says_so_and_exits_4(
    matmul_chain: Callable[..., Path], tmp_path: Path, edgekd: Callable
) -> None:
    path = matmul_chain("model", count=1, rows=8, width=16)
    bare = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": str(tmp_path)}
    done = edgekd("bench", path, "--on", "emulate:cortex-a76", "--json", env=bare)
    assert done.returncode == 4 and done.stdout == ""
    assert "--install" in done.stderr and "Traceback" not in done.stderr
    done = edgekd("doctor", "--on", "emulate:cortex-a72", "--target", "raspberry-pi-4", "--json", env=bare)
    assert done.returncode == 4
    checks = json.loads(done.stdout)["checks"]
    assert not any(check["good"] for check in checks if "ONNX Runtime" in check["name"])
    assert all("--install" in check["advice"] for check in checks if not check["good"])
    assert edgekd("doctor", "--install").returncode == 2


@pytest.mark.slow
@pytest.mark.usefixtures("emulation")
def test_installing_again_fetches_nothing_and_shows_what_it_took(edgekd: Callable) -> None:
    offline = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = edgekd("doctor", "--on", "emulate:cortex-a76", "--install", env=offline)
    assert done.returncode == 0, done.stderr
    assert "MB fetched" in done.stdout and "played by QEMU" in done.stdout
