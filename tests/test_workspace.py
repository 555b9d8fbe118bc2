"""The run folder: finished or not there, keys, resume, locks, and what a kill leaves behind."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgekd.errors import EdgekdError, UsageError
from edgekd.record import Record
from edgekd.workspace import (
    fingerprint,
    open_workspace,
    publish_folder,
    source_stamp,
    write_atomic,
)


class Found(Record):
    answer: int


def counting(folder_calls: list[Path], answer: int = 42):
    def work(folder: Path) -> Found:
        folder_calls.append(folder)
        (folder / "output.bin").write_bytes(b"x" * 10)
        return Found(answer=answer)

    return work


def test_a_finished_stage_is_taken_over(tmp_path: Path) -> None:
    calls: list[Path] = []
    for _ in range(2):
        with open_workspace(tmp_path / "run") as workspace:
            done = workspace.stage("export", {"a": 1}, Found, counting(calls))
    assert len(calls) == 1
    assert done.record.answer == 42
    assert (done.folder / "output.bin").read_bytes() == b"x" * 10
    assert not done.folder.with_name("export.partial").exists()


def test_other_inputs_redo_the_stage(tmp_path: Path) -> None:
    calls: list[Path] = []
    with open_workspace(tmp_path / "run") as workspace:
        first = workspace.stage("export", {"a": 1}, Found, counting(calls, 1))
        second = workspace.stage("export", {"a": 2}, Found, counting(calls, 2))
    assert (first.record.answer, second.record.answer, len(calls)) == (1, 2, 2)
    assert first.digest != second.digest


def test_a_changed_output_is_noticed_and_redone(tmp_path: Path) -> None:
    calls: list[Path] = []
    with open_workspace(tmp_path / "run") as workspace:
        done = workspace.stage("export", 1, Found, counting(calls))
        (done.folder / "output.bin").write_bytes(b"y" * 10)
        workspace.stage("export", 1, Found, counting(calls))
    assert len(calls) == 2
    assert (done.folder / "output.bin").read_bytes() == b"x" * 10


def test_a_failing_stage_leaves_nothing_under_its_name(tmp_path: Path) -> None:
    def fail(folder: Path) -> Found:
        (folder / "half").write_text("half")
        raise ValueError("broken")

    with open_workspace(tmp_path / "run") as workspace, pytest.raises(ValueError, match="broken"):
        workspace.stage("export", 1, Found, fail)
    assert not (tmp_path / "run" / "stages" / "export").exists()


@pytest.mark.parametrize(("keep", "seen"), [(True, True), (False, False)])
def test_only_a_stage_that_can_resume_finds_what_was_left(tmp_path: Path, keep: bool, seen: bool) -> None:
    def interrupted(folder: Path) -> Found:
        (folder / "checkpoint").write_text("step 7")
        raise KeyboardInterrupt

    found: list[bool] = []

    def resumed(folder: Path) -> Found:
        found.append((folder / "checkpoint").exists())
        return Found(answer=1)

    with open_workspace(tmp_path / "run") as workspace:
        with pytest.raises(KeyboardInterrupt):
            workspace.stage("distill", 1, Found, interrupted, keep_partial=keep)
        workspace.stage("distill", 1, Found, resumed, keep_partial=keep)
    assert found == [seen]


def test_a_checkpoint_of_other_inputs_is_not_resumed(tmp_path: Path) -> None:
    def interrupted(folder: Path) -> Found:
        (folder / "checkpoint").write_text("step 7")
        raise KeyboardInterrupt

    found: list[bool] = []

    def fresh(folder: Path) -> Found:
        found.append((folder / "checkpoint").exists())
        return Found(answer=1)

    with open_workspace(tmp_path / "run") as workspace:
        with pytest.raises(KeyboardInterrupt):
            workspace.stage("distill", 1, Found, interrupted, keep_partial=True)
        workspace.stage("distill", 2, Found, fresh, keep_partial=True)
    assert found == [False]


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    def full(folder: Path) -> Found:
        raise OSError(errno.ENOSPC, "No space left on device")

    with open_workspace(tmp_path / "run") as workspace, pytest.raises(EdgekdError, match="disk is full") as caught:
        workspace.stage("load", 1, Found, full)
    assert "free some space" in str(caught.value)


def test_two_runs_never_share_a_folder(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from edgekd.errors import UsageError
from edgekd.workspace import open_workspace
try:
    with open_workspace(Path({str(tmp_path / "run")!r})):
        print("entered")
except UsageError as error:
    print("refused", "Another edgekd" in str(error))
"""
    with open_workspace(tmp_path / "run"):
        held = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    free = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert held.stdout.strip() == "refused True"
    assert free.stdout.strip() == "entered"


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not an edgekd run"), open_workspace(tmp_path, fresh=True):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_fresh_starts_over(tmp_path: Path) -> None:
    calls: list[Path] = []
    for fresh in (False, True):
        with open_workspace(tmp_path / "run", fresh=fresh) as workspace:
            workspace.stage("export", 1, Found, counting(calls))
    assert len(calls) == 2


def test_done_json_is_what_makes_a_stage_finished(tmp_path: Path) -> None:
    calls: list[Path] = []
    with open_workspace(tmp_path / "run") as workspace:
        done = workspace.stage("export", 1, Found, counting(calls))
        text = json.loads((done.folder / "done.json").read_text())
        assert set(text["files"]) == {"output.bin"}
        (done.folder / "done.json").unlink()
        workspace.stage("export", 1, Found, counting(calls))
    assert len(calls) == 2


def test_write_atomic_leaves_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.json"
    write_atomic(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda _fd: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(OSError, match="full"):
        write_atomic(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_publish_replaces_whole_folders(tmp_path: Path) -> None:
    for version in ("one", "two"):
        source = tmp_path / version
        source.mkdir()
        (source / f"{version}.txt").write_text(version)
        (source / "done.json").write_text("{}")
        publish_folder(source, tmp_path / "artifact")
    assert [p.name for p in (tmp_path / "artifact").iterdir()] == ["two.txt"]
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_fingerprints_ignore_the_order_of_keys_and_nothing_else() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_source_stamp_changes_with_the_data(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"1")
    before = source_stamp(tmp_path)
    (tmp_path / "a" / "2.png").write_bytes(b"2")
    assert source_stamp(tmp_path) != before
