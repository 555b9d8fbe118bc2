"""A disk that is really full: one sentence, and nothing half-written under a final name."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KiB, mounted for this test."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root and the right to mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_one_sentence(small_disk: Path, edgekd, trained_pt2: Path, stripes_npz: Path) -> None:
    out = small_disk / "run"
    done = edgekd("compress", trained_pt2, "--data", stripes_npz, "--out", out, "--epochs", 1)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert "disk" in done.stderr.splitlines()[-1]
    assert not (out / "stages" / "load").exists()
    assert not (out / "artifact").exists()
