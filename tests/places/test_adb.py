"""The protocol of adb, against a stand-in that runs commands in a folder."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekd.errors import EdgekdError, PlaceLost, UsageError
from edgekd.places import place as places
from edgekd.places.look import look_at
from edgekd.places.timing import bench

QUICK: dict[str, Any] = {"min_runs": 10, "min_seconds": 0.0}
DEVICE = f"adb://emulator-5554{sys.executable}"
Chain = Callable[..., Path]

STAND_IN = """#!/bin/sh
# One device. Beside this file: "state" is what get-state says, "lose" makes the next benchmark lose the connection.
here=$(dirname "$0")
[ "$1" = -s ] && [ "$2" = emulator-5554 ] || { echo "error: device '$2' not found" >&2; exit 1; }
shift 2
case $1 in
get-state) cat "$here/state" ;;
push) cp "$2" "$3" && echo "1 file pushed" ;;
shell)
  export TMPDIR="$here/tmp"
  case $2-$(ls "$here") in
  *result.json*-*lose*) rm "$here/lose"; sh -c "$2" >/dev/null 2>&1; echo "error: closed" >&2; exit 1 ;;
  esac
  exec sh -c "$2" ;;
*) echo "unknown command $1" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the stand-in, which is the `adb` on PATH."""
    folder = tmp_path / "adb"
    (folder / "tmp").mkdir(parents=True)
    (folder / "adb").write_text(STAND_IN)
    (folder / "adb").chmod(0o755)
    (folder / "state").write_text("device\n")
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setattr(places, "BACK_OFF", (0.0, 0.0))
    return folder


def test_a_device_is_timed_and_left_as_it_was(adb: Path, matmul_chain: Chain) -> None:
    found = bench(matmul_chain("model", count=1), on=DEVICE, **QUICK)
    assert found.place == "adb://emulator-5554" and len(found.samples_ms) == 10
    assert list((adb / "tmp").iterdir()) == []


def test_a_device_that_was_away_while_it_finished(adb: Path, matmul_chain: Chain) -> None:
    (adb / "lose").touch()
    found = bench(matmul_chain("model", count=1), on=DEVICE, **QUICK)
    assert len(found.samples_ms) == 10 and found.environment["processes"] == 1
    assert not (adb / "lose").exists()


def test_a_device_is_looked_at(adb: Path) -> None:
    look = look_at(DEVICE)
    assert look.facts["versions"]["onnxruntime"] and look.max_opset >= 23 and look.max_ir >= 11
    assert look.facts["load"] >= 0
    assert list((adb / "tmp").iterdir()) == []


def test_a_device_without_python(adb: Path, matmul_chain: Chain) -> None:
    with pytest.raises(UsageError, match="adb://emulator-5554: there is no '/no/python' there; install Python"):
        bench(matmul_chain("model", count=1), on="adb://emulator-5554/no/python")


def test_a_file_that_cannot_be_pushed(adb: Path, matmul_chain: Chain) -> None:
    with (adb / "adb").open("r+") as script:
        changed = script.read().replace('cp "$2" "$3"', 'echo "adb: error: No space left on device" >&2; false')
        script.seek(0)
        script.write(changed)
    with pytest.raises(EdgekdError, match=r"the disk is full there, 'machine_facts\.py' could not be written"):
        bench(matmul_chain("model", count=1), on=DEVICE)


@pytest.mark.parametrize(
    ("serial", "state", "reason"),
    [
        ("emulator-1", "device", "adb knows no such device"),
        ("emulator-5554", "offline", "the device is offline"),
        ("emulator-5554", "unauthorized", "it has not allowed this computer yet"),
    ],
)
def test_a_device_that_cannot_be_reached(adb: Path, matmul_chain: Chain, serial: str, state: str, reason: str) -> None:
    (adb / "state").write_text(state)
    with pytest.raises(PlaceLost, match=reason):
        bench(matmul_chain("model", count=1), on=f"adb://{serial}")


@pytest.mark.parametrize("text", ["adb://", "adb://-s", "adb://a b", "adb://a;b", "adb://$(x)"])
def test_what_is_no_serial_is_refused(adb: Path, text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no device; write adb://SERIAL"):
        bench(tmp_path / "model.onnx", on=text)


def test_without_adb_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="needs adb, which is not installed"):
        bench(tmp_path / "model.onnx", on="adb://0123")
