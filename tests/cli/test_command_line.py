"""The command line: generated options, plans, one JSON object, and errors in one sentence."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import onnx
import pytest

from edgekd.api import command_line
from edgekd.cli.main import COMMANDS
from edgekd.recipe import Recipe, make_recipe


def write_model(path: Path, name: str = "one") -> None:
    """The smallest sound ONNX file; the tests here plan a run and do not start it."""
    images, logits = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 3]) for n in ("x", "y"))
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], name, [images], [logits])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), path)


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
    code, out, err = call("compress", "m.onnx", "--epoch", 3)
    assert (code, out) == (2, "")
    assert "--epochs" in err


def test_dry_run_prints_the_plan_with_reasons_and_writes_nothing(call, tmp_path: Path) -> None:
    write_model(tmp_path / "m.onnx")
    (tmp_path / "images").mkdir()
    code, out, _ = call("compress", "m.onnx", "--target", "raspberry-pi", "--data", "images", "--dry-run")
    assert code == 0
    assert "raspberry-pi is taken as raspberry-pi-5; alternatives: raspberry-pi-3b-plus, raspberry-pi-4" in out
    assert "int8 activations, per channel" in out
    assert "student: auto" in out
    assert re.search(r"run folder runs/m-raspberry-pi-5-[0-9a-f]{8}", out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images", "m.onnx"]


def test_the_run_folder_changes_with_the_settings_and_not_otherwise(call, tmp_path: Path) -> None:
    write_model(tmp_path / "m.onnx")

    def folder(*options: object) -> str:
        return json.loads(call("compress", "m.onnx", "--dry-run", "--json", *options)[1])["run"]

    assert folder() == folder()
    assert len({folder(), folder("--seed", 1), folder("--target", "raspberry-pi-4"), folder("--schemes", "fp32")}) == 4
    before = folder()
    write_model(tmp_path / "m.onnx", "another")
    assert folder() != before


def test_json_is_exactly_one_object(call, tmp_path: Path) -> None:
    write_model(tmp_path / "m.onnx")
    planned = json.loads(call("compress", "m.onnx", "--dry-run", "--json")[1])
    assert planned["recipe"]["student"] == "none"
    assert planned["fallbacks"] == [
        "no --data, so no student could be trained: the teacher itself was compressed, and nothing was scored"
    ]
    assert len(json.loads(call("devices", "--json")[1])["devices"]) == 11
    assert json.loads(call("devices", "show", "pi4", "--json")[1])["name"] == "raspberry-pi-4"


def test_a_saved_recipe_runs_again(call, tmp_path: Path) -> None:
    write_model(tmp_path / "m.onnx")
    call(
        "compress", "m.onnx", "--target", "raspberry-pi-4", "--schemes", "fp32", "--save-recipe", "r.yaml", "--dry-run"
    )
    again = json.loads(call("compress", "m.onnx", "--recipe", "r.yaml", "--dry-run", "--json")[1])
    assert (again["recipe"]["target"], again["recipe"]["schemes"]) == ("raspberry-pi-4", "fp32")


def test_every_profile_can_be_shown(call) -> None:
    names = [d["name"] for d in json.loads(call("devices", "--json")[1])["devices"]]
    assert {"raspberry-pi-zero-2-w", "raspberry-pi-3b-plus", "raspberry-pi-4", "raspberry-pi-5", "host"} <= set(names)
    for name in names:
        code, out, _ = call("devices", "show", name)
        assert code == 0
        assert name in out


def test_training_without_images_is_refused(call, tmp_path: Path) -> None:
    write_model(tmp_path / "m.onnx")
    code, _, err = call("compress", "m.onnx", "--student", "auto", "--dry-run")
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


OPTIONS: list[dict[str, Any]] = [
    {},
    {"student": "none", "schemes": "fp32", "seed": 3},
    {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "keep_macs": 0.123456789},
    {"budget": ("drop=1%", "size=2MiB"), "allow_estimate": True, "judge": False, "trust": False},
    {"recipe": "quick-look", "target": "raspberry-pi-4", "epochs": 4},
]


@pytest.mark.parametrize("keywords", OPTIONS)
def test_the_command_of_a_call_does_the_same(call, tmp_path: Path, keywords: dict[str, Any]) -> None:
    write_model(tmp_path / "my model.onnx")
    (tmp_path / "images").mkdir()
    options = {"student": "auto", "data": "images"} | keywords
    recipe = options.pop("recipe", None)
    command = shlex.split(
        command_line("compress", "my model.onnx", recipe=recipe, out="a run", fresh=True, options=options)
    )
    typed = json.loads(call(*command[1:], "--dry-run", "--json")[1])
    assert typed["recipe"] == make_recipe(recipe, model="my model.onnx", **options).model_dump(mode="json")
    assert typed["run"] == "a run"
    assert "--fresh" in command
