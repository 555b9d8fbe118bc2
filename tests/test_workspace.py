"""The run folder: finished or not there, keys, resume, locks, and what a kill leaves behind."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgekd.errors import EdgekdError, UsageError
from edgekd.following import Follower
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

    with pytest.raises(EdgekdError, match="disk is full") as caught, open_workspace(tmp_path / "run") as workspace:
        workspace.stage("load", 1, Found, full)
    assert "free some space" in str(caught.value)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_write_that_fails_after_the_last_stage_is_one_sentence_too(tmp_path: Path, number: int) -> None:
    with pytest.raises(EdgekdError, match=r"disk is full|cannot be written") as caught:  # noqa: SIM117
        with open_workspace(tmp_path / "run"):
            raise OSError(number, os.strerror(number), str(tmp_path / "run" / "recipe.yaml"))
    assert str(tmp_path / "run") in str(caught.value)
    with open_workspace(tmp_path / "run"):
        pass  # the lock is free again


def test_a_file_of_the_users_that_cannot_be_read_is_not_blamed_on_the_run_folder(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), open_workspace(tmp_path / "run"):
        raise PermissionError(errno.EACCES, "Permission denied", "images/cat.png")


def test_a_folder_that_cannot_be_made_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"), open_workspace(tmp_path / "file" / "run"):
        pass


def test_publishing_that_fails_leaves_the_old_folder_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("source", "artifact"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_text(name)

    def full(source: Path, target: Path, **_how: object) -> None:
        target.mkdir()
        (target / "half").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(OSError, match="No space"):
        publish_folder(tmp_path / "source", tmp_path / "artifact")
    assert (tmp_path / "artifact" / "model.onnx").read_text() == "artifact"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["artifact", "source"]


def test_the_log_is_whole_and_the_users_own_handlers_see_no_more_than_before(tmp_path: Path) -> None:
    script = f"""
import logging
from pathlib import Path
from edgekd.following import Follower
from edgekd.record import Record
from edgekd.workspace import open_workspace
logging.basicConfig(format="%(message)s")
class Found(Record):
    pass
def work(folder):
    logging.getLogger("edgekd.stages.load").info("quiet")
    logging.getLogger("edgekd.stages.load").warning("loud")
    logging.getLogger("other").warning("theirs")
    return Found()
with open_workspace(Path({str(tmp_path / "run")!r})) as workspace:
    workspace.stage("load", 1, Found, work)
assert not logging.getLogger("edgekd").isEnabledFor(logging.INFO)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.split() == ["loud", "theirs"]
    kept = (tmp_path / "run" / "stages" / "load" / "log.txt").read_text()
    assert "quiet" in kept and "loud" in kept and "theirs" not in kept


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
    with pytest.raises(OSError, match="full") as caught:
        write_atomic(path, b"new and longer")
    assert caught.value.filename == str(path)
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


def test_only_the_first_process_removes_what_an_earlier_run_left(tmp_path: Path) -> None:
    with open_workspace(tmp_path / "run") as workspace:
        (tmp_path / "run/report").mkdir()
        Follower(tmp_path / "run").remove("report")
        assert (tmp_path / "run/report").is_dir()
        workspace.remove("report", "bench")
        assert not (tmp_path / "run/report").exists()
