"""The command line: generated options, plans, one JSON object, and errors in one sentence."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from edgekd.cli.main import COMMANDS
from edgekd.compression import command_line
from edgekd.recipe import Recipe
from edgekd.recipe_file import make_recipe


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


def test_defaults_in_brackets_are_shown_and_not_taken_for_markup(call) -> None:
    out = " ".join(call("compress", "--help")[1].replace("│", " ").split())
    for field in Recipe.model_fields.values():
        if isinstance(field.json_schema_extra, dict):
            assert " ".join(str(field.description).split()) in out
    assert "Images per training step. [default: 128]" in out
    assert "The run folder itself [default: runs/MODEL-TARGET-KEY]." in out
    assert "Threads [default: the profile's]." in call("predict", "--help")[1]
    assert "Device to fit [default: raspberry-pi]." in call("demo", "--help")[1]


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


def test_dry_run_prints_the_plan_with_reasons_and_writes_nothing(call, write_model, tmp_path: Path) -> None:
    write_model(tmp_path / "m.onnx")
    (tmp_path / "images").mkdir()
    code, out, _ = call("compress", "m.onnx", "--target", "raspberry-pi", "--data", "images", "--dry-run")
    assert code == 0
    assert "raspberry-pi is taken as raspberry-pi-5; alternatives: raspberry-pi-3b, raspberry-pi-3b-plus" in out
    assert "# int8 activations: int8 (Arm multiplies signed by signed" in out
    assert "# onnxruntime threads: 4 (one for each fast core)" in out
    assert "student: auto" in out
    assert "# student: pruned from the teacher to 50 % of its MACs" in out
    assert "# training: with the teacher, and where there are labels once more without; 30 epochs each" in out
    assert "# batch size: 128" in out
    assert "# schemes: fp32, fp16, int8_dynamic, int8_weights, int8_static, int8_fused\n# runtimes: onnxruntime" in out
    zero = call("compress", "m.onnx", "--target", "pi-zero-2", "--data", "images", "--dry-run")[1]
    assert "# runtimes: onnxruntime\n# runtimes left out: openvino (not on raspberry-pi-zero-2-w)" in zero
    assert re.search(r"run folder runs/m-raspberry-pi-5-[0-9a-f]{8}", out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images", "m.onnx"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--front", "log_mol=40"), "no front 'log_mol'; did you mean 'log_mel'"),
        (("--front", "log_mel=40,hop=0"), "log_mel's hop is '0'"),
        (("--front", "pca=4"), "--front pca has no components"),
        (("--front", "log_mel=40"), "cannot be put before an ONNX file"),
        (("--student", "auto", "--student-input", "bands"), "lacks a value; write it like bands=COUNT"),
    ],
)
def test_dry_run_refuses_fronts_that_cannot_be(call, write_model, tmp_path: Path, options, sentence) -> None:
    write_model(tmp_path / "m.onnx")
    code, out, err = call("compress", "m.onnx", "--dry-run", *options)
    assert (code, out) == (2, "") and sentence in err


def test_the_run_folder_changes_with_the_settings_and_not_otherwise(call, write_model, tmp_path: Path) -> None:
    write_model(tmp_path / "m.onnx")

    def folder(*options: object) -> str:
        return json.loads(call("compress", "m.onnx", "--dry-run", "--json", *options)[1])["run"]

    assert folder() == folder()
    assert len({folder(), folder("--seed", 1), folder("--target", "raspberry-pi-4"), folder("--schemes", "fp32")}) == 4
    before = folder()
    write_model(tmp_path / "m.onnx", "another")
    assert folder() != before


def test_json_is_exactly_one_object(call, write_model, tmp_path: Path) -> None:
    write_model(tmp_path / "m.onnx")
    planned = json.loads(call("compress", "m.onnx", "--dry-run", "--json")[1])
    assert planned["recipe"]["student"] == "none"
    assert planned["fallbacks"] == [
        "no --data, so the teacher itself is compressed; --student auto trains one on inputs synthesised from it"
    ]
    values = {one["what"]: one["value"] for one in planned["decisions"]}
    assert values["int8 scales"] == "per channel" and values["onnxruntime IR version"].startswith("at most ")
    assert len(json.loads(call("devices", "--json")[1])["devices"]) == 22
    assert json.loads(call("devices", "show", "pi4", "--json")[1])["name"] == "raspberry-pi-4"


def test_a_saved_recipe_runs_again(call, write_model, tmp_path: Path) -> None:
    write_model(tmp_path / "m.onnx")
    call(
        "compress", "m.onnx", "--target", "raspberry-pi-4", "--schemes", "fp32", "--save-recipe", "r.yaml", "--dry-run"
    )
    again = json.loads(call("compress", "m.onnx", "--recipe", "r.yaml", "--dry-run", "--json")[1])
    assert (again["recipe"]["target"], again["recipe"]["schemes"]) == ("raspberry-pi-4", "fp32")


def test_devices_say_what_their_latencies_are_known_from(call) -> None:
    found = call("devices", "show", "raspberry-pi-5")[1]
    assert "yolo11x" in found and "2646.76 ms" in found and "not stated" in found
    lines = {line.split()[0]: line for line in call("devices")[1].splitlines()[1:] if line.strip()}
    assert "10 published" in lines["raspberry-pi-5"]
    assert "raspberry-pi-4" in lines["jetson-nano"] and "a guess" in lines["host"]


def test_every_profile_can_be_shown(call) -> None:
    names = [d["name"] for d in json.loads(call("devices", "--json")[1])["devices"]]
    assert {"raspberry-pi-zero-2-w", "raspberry-pi-3b-plus", "raspberry-pi-4", "raspberry-pi-5", "host"} <= set(names)
    for name in names:
        code, out, _ = call("devices", "show", name)
        assert code == 0
        assert name in out
        assert "int8 products" in out


def test_training_without_data_is_on_what_is_synthesised_or_refused(call, write_model, tmp_path: Path) -> None:
    write_model(tmp_path / "m.onnx")
    planned = json.loads(call("compress", "m.onnx", "--student", "auto", "--dry-run", "--json")[1])
    assert planned["settled"]["training"].startswith("with the teacher only, on inputs synthesised from it; ")
    code, _, err = call("compress", "m.onnx", "--student", "auto", "--synthesise", 0, "--dry-run")
    assert code == 3
    assert "--student auto needs data to train on" in err


def test_what_is_settled_follows_what_is_typed(call, write_model, tmp_path: Path) -> None:
    write_model(tmp_path / "m.onnx")
    (tmp_path / "images").mkdir()

    def settled(*options: object) -> dict[str, Any]:
        return json.loads(call("compress", "m.onnx", "--data", "images", "--dry-run", "--json", *options)[1])["settled"]

    assert settled("--time", "20m", "--no-judge")["training"] == "with the teacher only; 20m in all"
    assert settled("--epochs", 4)["training"].endswith("; 4 epochs each")
    assert settled("--keep-macs", 0.3)["student"] == "pruned from the teacher to 30 % of its MACs"
    fits = settled("--budget", "latency=20ms", "--target", "pi4")["student"]
    assert fits == "pruned from the teacher: the largest tried whose estimate fits latency=20ms"
    assert settled("--student", "none") == {
        "training": "none: the model itself is compressed",
        **{key: value for key, value in settled().items() if key in ("schemes", "runtimes")},
    }


REFUSED = [
    (["m.onnx", "--time", "3"], 2, "--time '3' is no length of time; write it like 90s, 20m or 1h30m"),
    (["m.onnx", "--classes", "empty.txt"], 3, "'empty.txt' is empty"),
    (["m.onnx", "--classes", "."], 3, "class names '.' cannot be read"),
    (["m.onnx", "--student", "net.py:biuld"], 3, "net.py has no function 'biuld'; did you mean 'build'?"),
    (["w.pt", "--arch", "net.py:make"], 3, "net.py has no function 'make'"),
    (["w.pt", "--arch", "nets.py:make"], 3, "There is no --arch nets.py"),
    (["w.pt", "--arch", "bad.py:make"], 3, "bad.py:2: "),
    (["m.onnx", "--data", "net.py:data"], 3, "net.py has no function 'data'"),
    (["module.pt"], 3, "--trust"),
]


@pytest.mark.parametrize("dry", [["--dry-run"], []])
@pytest.mark.parametrize(("words", "code", "said"), REFUSED)
def test_mistakes_are_refused_before_anything_is_made(
    call, write_model, tmp_path: Path, words: list[str], code: int, said: str, dry: list[str]
) -> None:
    torch = pytest.importorskip("torch")
    write_model(tmp_path / "m.onnx")
    (tmp_path / "images").mkdir()
    (tmp_path / "empty.txt").touch()
    (tmp_path / "net.py").write_text("raise SystemExit('run')\ndef build(): ...\n")
    (tmp_path / "bad.py").write_text("x = 1\ndef build(:\n")
    torch.save({"fc.weight": torch.zeros(2, 3)}, tmp_path / "w.pt")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "module.pt")
    before = sorted(path.name for path in tmp_path.iterdir())
    images = [] if "--data" in words else ["--data", "images"]
    found, out, err = call("compress", *words, *images, *dry)
    assert (found, out) == (code, "")
    assert said in err.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_names_that_a_file_may_define_in_other_ways_are_left_to_it(call, write_model, tmp_path: Path) -> None:
    write_model(tmp_path / "m.onnx")
    (tmp_path / "images").mkdir()
    lines = ("from nets import small as build", "build = lambda: None", "from nets import *", "class build: ...")
    for line in lines:
        (tmp_path / "net.py").write_text(line)
        words = ("--student", "net.py:build", "--data", "images", "--dry-run")
        assert call("compress", "m.onnx", *words)[0] == 0, line


def test_weights_without_an_architecture_get_the_whole_command(call, tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision").models
    torch = pytest.importorskip("torch")
    torch.save(models.squeezenet1_1(num_classes=7).state_dict(), tmp_path / "my weights.pt")
    (tmp_path / "images").mkdir()
    typed = ("--data", "images", "--budget", "drop=1%", "--no-judge", "--out", "o")
    code, _, err = call("compress", "my weights.pt", *typed, "--dry-run")
    assert code == 3
    proposed = shlex.split(err.split("most likely so: ")[1])
    assert proposed[:3] == ["edgekd", "compress", "my weights.pt"]
    code, out, _ = call(*proposed[1:], "--dry-run", "--json")
    assert code == 0
    recipe = json.loads(out)["recipe"]
    assert (recipe["arch"], recipe["data"], recipe["judge"]) == ("torchvision:squeezenet1_1", "images", False)
    assert (recipe["budget"], json.loads(out)["run"]) == (["drop=1%"], "o")


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
def test_the_command_of_a_call_does_the_same(call, write_model, tmp_path: Path, keywords: dict[str, Any]) -> None:
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
