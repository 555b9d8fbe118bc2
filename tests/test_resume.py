"""`kill -9` in the middle of each stage, then the same command again: the run ends, finished stages are not redone, and
the model equals an undisturbed run's byte for byte."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

STAGES = ("load", "distill", "export", "quantize", "benchmark", "package")


@pytest.fixture(scope="module")
def arguments(trained_pt2: Path, stripes_npz: Path) -> list[str]:
    return [
        *("compress", str(trained_pt2), "--data", str(stripes_npz), "--target", "raspberry-pi-5", "--epochs", "4"),
        *("--batch-size", "16", "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5", "--seed", "3"),
    ]


@pytest.fixture(scope="module")
def undisturbed(arguments: list[str], tmp_path_factory: pytest.TempPathFactory, edgekd) -> bytes:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    done = edgekd(*arguments, "--out", out)
    assert done.returncode == 0, done.stderr
    return (out / "artifact" / "model.onnx").read_bytes()


def kill_in(stage: str, arguments: list[str], out: Path) -> bool:
    """Start the run and kill -9 it once the stage has begun to write; False where the stage ended first."""
    process = subprocess.Popen(
        [sys.executable, "-m", "edgekd.cli.main", *arguments, "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    partial, final = out / "stages" / f"{stage}.partial", out / "stages" / stage
    marks = {"distill": "checkpoints/*/*.json"}
    while process.poll() is None:
        began = list(partial.glob(marks.get(stage, "key")))
        if began:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return not final.exists()
        time.sleep(0.002)
    return False


def test_a_run_killed_in_every_stage_ends_with_the_same_bytes(
    arguments: list[str], undisturbed: bytes, tmp_path: Path, edgekd
) -> None:
    out = tmp_path / "run"
    for index, stage in enumerate(STAGES):
        assert kill_in(stage, arguments, out), f"the stage {stage} was over before it could be killed"
        assert not (out / "stages" / stage).exists()
        assert not (out / "artifact").exists()
        for finished in STAGES[:index]:
            assert (out / "stages" / finished / "done.json").exists()
    before = {path: path.stat().st_mtime_ns for path in (out / "stages").glob("*/done.json")}
    done = edgekd(*arguments, "--out", out)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (out / "artifact" / "model.onnx").read_bytes() == undisturbed
    assert edgekd("verify", out / "artifact").returncode == 0


def test_ctrl_c_is_exit_code_130_and_resumable(
    arguments: list[str], undisturbed: bytes, tmp_path: Path, edgekd
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "edgekd.cli.main", *arguments, "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    partial = out / "stages" / "distill.partial"
    while process.poll() is None and not list(partial.glob("checkpoints/*/*.json")):
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "goes on from here" in errors
    done = edgekd(*arguments, "--out", out)
    assert done.returncode == 0, done.stderr
    assert (out / "artifact" / "model.onnx").read_bytes() == undisturbed
