"""The scheme around the training: where its inputs are kept meanwhile, and what it says where nothing is gained."""

from pathlib import Path

import numpy as np
import pytest

from edgekd.device import Numerics
from edgekd.progress import Tick
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.int8_qad import int8_qad
from edgekd.schemes.scheme import Evidence, SchemeResult

PER_TENSOR = Numerics(activations="uint8", per_channel=False, reduce_range=False)


@pytest.fixture
def tried(uneven: tuple[Path, Path], images: np.ndarray, tmp_path: Path):
    """Run the scheme within so many seconds; returns its result and the stored inputs at each step."""
    stored: list[list[str]] = []

    def listen(tick: Tick) -> None:
        stored.append(sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.npy")))

    def run(seconds: float) -> tuple[SchemeResult, list[list[str]]]:
        evidence = Evidence(
            score=lambda path: 0.0,
            enough=1.0,
            milliseconds=lambda graph: 0.0,
            float_blocks=lambda path: (),
            seconds=seconds,
            folder=tmp_path,
            training=CalibrationData(images[:288]),
            classifier=True,
            listen=listen,
        )
        data, out = CalibrationData(images[:64]), tmp_path / "int8_qad.onnx"
        return int8_qad(uneven[0], out, calibration=data, numerics=PER_TENSOR, evidence=evidence), stored

    return run


def test_inputs_lie_in_the_run_folder_while_it_trains_and_not_after(tried, tmp_path: Path) -> None:
    left = tmp_path / ".int8_qad.partial" / "of_a_kill.npy"
    left.parent.mkdir()
    left.write_bytes(b"")
    result, stored = tried(600)
    assert result.file == "int8_qad.onnx"
    assert stored == [[".int8_qad.partial/held_out.npy", ".int8_qad.partial/inputs.npy"]] * 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["int8_qad.onnx", "int8_qad.steps.json"]


def test_where_nothing_is_gained_it_is_said_why(tried, tmp_path: Path) -> None:
    result, _ = tried(1e-3)
    assert result.skipped == "training gained nothing in 0 steps"
    assert "0.001 s are enough for 0 of 6 steps" in result.notes
    assert not (tmp_path / "int8_qad.onnx").exists()
