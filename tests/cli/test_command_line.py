"""The command line: generated options, plans, one JSON object, and errors in one sentence."""

import json
import re
from pathlib import Path

import pytest

from edgekd.cli.main import COMMANDS, main
from edgekd.recipe import Recipe


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the command in this process and in an empty folder; return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return run


def test_every_setting_of_the_recipe_is_an_option(call) -> None:
    _, out, _ = call("compress", "--help")
    for name, field in Recipe.model_fields.items():
        if isinstance(field.json_schema_extra, dict):
            assert f"--{name.replace('_', '-')}" in out, name


def test_help_begins_with_examples(call) -> None:
    for command in COMMANDS:
        code, out, _ = call(command, "--help")
        assert code == 0
        assert f"edgekd {command}" in out.split("Options")[0], command


def test_every_command_of_the_table_has_a_module_with_its_help() -> None:
    folder = Path(__file__).resolve().parents[2] / "edgekd" / "cli"
    for command in COMMANDS:
        assert (folder / f"{command}.py").is_file(), command


def test_unknown_words_name_the_nearest(call) -> None:
    code, out, err = call("compres")
    assert (code, out) == (2, "")
    assert "did you mean 'compress'" in err
    code, out, err = call("compress", "m.pt2", "--epoch", 3)
    assert (code, out) == (2, "")
    assert "--epochs" in err


def test_dry_run_prints_the_plan_with_reasons_and_writes_nothing(call, tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(b"not read")
    (tmp_path / "images").mkdir()
    code, out, _ = call("compress", "m.pt2", "--target", "raspberry-pi", "--data", "images", "--dry-run")
    assert code == 0
    assert "raspberry-pi is taken as raspberry-pi-5; alternatives: raspberry-pi-3b-plus, raspberry-pi-4" in out
    assert "int8 activations, per channel" in out
    assert "student: auto" in out
    assert re.search(r"run folder runs/m-raspberry-pi-5-[0-9a-f]{8}", out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images", "m.pt2"]


def test_the_run_folder_changes_with_the_settings_and_not_otherwise(call, tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(b"not read")

    def folder(*options: object) -> str:
        return json.loads(call("compress", "m.pt2", "--dry-run", "--json", *options)[1])["run"]

    assert folder() == folder()
    assert len({folder(), folder("--seed", 1), folder("--target", "raspberry-pi-4"), folder("--schemes", "fp32")}) == 4
    before = folder()
    (tmp_path / "m.pt2").write_bytes(b"another model")
    assert folder() != before


def test_json_is_exactly_one_object(call, tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(b"not read")
    planned = json.loads(call("compress", "m.pt2", "--dry-run", "--json")[1])
    assert planned["recipe"]["student"] == "none"
    assert planned["fallbacks"] == [
        "no --data, so no student could be trained: the teacher itself was compressed, and nothing was scored"
    ]
    assert len(json.loads(call("devices", "--json")[1])["devices"]) == 11
    assert json.loads(call("devices", "show", "pi4", "--json")[1])["name"] == "raspberry-pi-4"


def test_a_saved_recipe_runs_again(call, tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(b"not read")
    call("compress", "m.pt2", "--target", "raspberry-pi-4", "--schemes", "fp32", "--save-recipe", "r.yaml", "--dry-run")
    again = json.loads(call("compress", "m.pt2", "--recipe", "r.yaml", "--dry-run", "--json")[1])
    assert (again["recipe"]["target"], again["recipe"]["schemes"]) == ("raspberry-pi-4", "fp32")


def test_every_profile_can_be_shown(call) -> None:
    names = [d["name"] for d in json.loads(call("devices", "--json")[1])["devices"]]
    assert {"raspberry-pi-zero-2-w", "raspberry-pi-3b-plus", "raspberry-pi-4", "raspberry-pi-5", "host"} <= set(names)
    for name in names:
        code, out, _ = call("devices", "show", name)
        assert code == 0
        assert name in out


def test_training_without_images_is_refused(call, tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(b"not read")
    code, _, err = call("compress", "m.pt2", "--student", "auto", "--dry-run")
    assert code == 3
    assert "--student auto needs images to train on" in err


def test_the_unexpected_is_one_sentence_unless_asked_for(call, monkeypatch: pytest.MonkeyPatch) -> None:
    import edgekd.api

    def broken(*_args: object, **_options: object) -> None:
        raise RuntimeError("first line\nsecond \x1b[31mline")

    monkeypatch.setattr(edgekd.api, "devices", broken)
    code, out, err = call("devices")
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "unexpected RuntimeError: first line second" in err
    assert "\x1b" not in err
