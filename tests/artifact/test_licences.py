"""Licences: who says them, in which order, and what goes along."""

from pathlib import Path

import pytest

from edgekd.artifact.contract import Licence
from edgekd.artifact.licences import MAX_BYTES, licences_of_run, parse_licences
from edgekd.errors import UsageError
from edgekd.recipe import Recipe


def plan(folder: Path, **more: object) -> Recipe:
    (folder / "models").mkdir(exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    usual = {"model": str(folder / "models" / "m.pt2"), "data": str(folder / "data"), "student": "auto"}
    return Recipe.model_validate(usual | more)


def test_nobody_says_anything(tmp_path: Path) -> None:
    found = licences_of_run(plan(tmp_path), None)
    assert found.licences.teacher == found.licences.data == found.licences.student == Licence()
    assert found.licences.teacher.id == "unknown" and not found.texts
    assert licences_of_run(plan(tmp_path, data=None, student="none"), None).licences.data is None


def test_the_command_line_comes_before_the_file_and_the_file_before_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "LICENSE").write_text("# SPDX-License-Identifier: BSD-3-Clause\nAll rights are yours.\n")
    beside = licences_of_run(plan(tmp_path), None)
    assert beside.licences.teacher == Licence(
        id="BSD-3-Clause", origin="LICENSE beside it", file="LICENSES/teacher.txt"
    )
    itself = licences_of_run(plan(tmp_path), "apache-2.0")
    assert (itself.licences.teacher.id, itself.licences.teacher.origin) == ("Apache-2.0", "the file itself")
    told = licences_of_run(plan(tmp_path, licence=("teacher=mit",)), "apache-2.0")
    assert (told.licences.teacher.id, told.licences.teacher.origin) == ("MIT", "--licence")
    assert told.licences.student == told.licences.teacher  # pruned out of it
    assert len({beside.digest, itself.digest, told.digest}) == 3
    told.write(tmp_path)
    assert (tmp_path / "LICENSES" / "teacher.txt").read_bytes() == (tmp_path / "models" / "LICENSE").read_bytes()


def test_a_title_is_not_guessed_at_and_a_link_or_a_flood_not_taken(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "LICENSE").write_text("MIT License\n")
    found = licences_of_run(plan(tmp_path), None)
    assert found.licences.data == Licence(id="unknown", origin="LICENSE beside it", file="LICENSES/data.txt")
    (data / "LICENSE").write_bytes(b"x" * (MAX_BYTES + 1))
    (tmp_path / "secret").write_text("secret")
    (data / "COPYING").symlink_to(tmp_path / "secret")
    assert not licences_of_run(plan(tmp_path), None).texts


def test_students_that_a_library_builds_and_others(tmp_path: Path) -> None:
    timm = licences_of_run(plan(tmp_path, student="timm:resnet18", licence=("teacher=MIT",)), None).licences
    assert (timm.teacher.id, timm.student.id) == ("MIT", "Apache-2.0")
    own = licences_of_run(plan(tmp_path, student="net.py:build"), None).licences
    assert own.student.id == "unknown"
    own = licences_of_run(plan(tmp_path, student="net.py:build", licence=("student=LicenseRef-Ours",)), None).licences
    assert own.student.id == "LicenseRef-Ours"


def test_data_without_a_file_may_still_have_a_licence(tmp_path: Path) -> None:
    made = licences_of_run(plan(tmp_path, data="make.py:data", licence=("data=CC-BY-4.0 OR MIT",)), None).licences
    assert made.data is not None and made.data.id == "CC-BY-4.0 OR MIT"


@pytest.mark.parametrize(
    ("stated", "match"),
    [
        (("techer=MIT",), "did you mean 'teacher'"),
        (("MIT",), "'MIT' is of 'MIT'"),
        (("data=my own",), "names no SPDX licence"),
        (("data=",), "names no SPDX licence"),
        (("data=MIT", "data=MIT"), "twice for data"),
    ],
)
def test_what_is_no_licence_is_one_sentence(stated: tuple[str, ...], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        parse_licences(stated)
