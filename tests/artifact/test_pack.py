"""`edgekd pack`: the same bytes from the same artifact, and what comes out of them verifies."""

import os
import runpy
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import edgekd
from edgekd.errors import BadInput, UsageError

making = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("making.py"))))


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return Path(making.make_artifact(tmp_path))


def test_twice_and_from_a_copy_with_other_times_and_permissions_the_same_bytes(artifact: Path, tmp_path: Path) -> None:
    first = edgekd.pack(artifact)
    assert first.path == str(tmp_path / "artifact.zip")
    copy = tmp_path / "an other name"
    shutil.copytree(artifact, copy)
    for at, path in enumerate(sorted(copy.rglob("*"), reverse=True)):
        os.utime(path, (at * 1000, at * 1000))
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        second = edgekd.pack(copy, out=tmp_path / "second.zip")
    finally:
        for path in [copy, *copy.rglob("*")]:
            path.chmod(0o700)
    assert (tmp_path / "second.zip").read_bytes() == (tmp_path / "artifact.zip").read_bytes()
    assert (first.sha256, first.size_bytes, first.files) == (second.sha256, second.size_bytes, second.files)


def test_unpacked_it_is_the_artifact_and_verifies(artifact: Path, tmp_path: Path) -> None:
    packed = edgekd.pack(artifact)
    with zipfile.ZipFile(packed.path) as archive:
        names = archive.namelist()
        assert names == sorted(names) and len(names) == packed.files
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        archive.extractall(tmp_path / "unpacked")
    assert edgekd.verify(tmp_path / "unpacked").files == packed.files - 1  # SHA256SUMS does not list itself
    inside = {p.relative_to(artifact): p.read_bytes() for p in artifact.rglob("*") if p.is_file()}
    top = tmp_path / "unpacked" / "artifact"
    assert {p.relative_to(top): p.read_bytes() for p in top.rglob("*") if p.is_file()} == inside


def test_what_does_not_verify_is_not_packed(artifact: Path, tmp_path: Path) -> None:
    with (artifact / "labels.txt").open("a") as file:
        file.write("another\n")
    with pytest.raises(BadInput, match=r"'labels\.txt' has changed"):
        edgekd.pack(artifact)
    assert [path.name for path in tmp_path.glob("*.zip")] == []


def test_places_where_no_zip_can_be(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lies in the artifact"):
        edgekd.pack(artifact, out=artifact / "a.zip")
    with pytest.raises(UsageError, match="is a folder"):
        edgekd.pack(artifact, out=tmp_path)
    with pytest.raises(UsageError, match="in no folder"):
        edgekd.pack(artifact, out=tmp_path / "none" / "a.zip")
    assert not list(tmp_path.rglob("*.zip")) + list(tmp_path.rglob("*.tmp"))


def test_the_current_folder_is_packed_beside_itself(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(artifact)
    edgekd.pack(".")
    assert (tmp_path / "artifact.zip").is_file()
