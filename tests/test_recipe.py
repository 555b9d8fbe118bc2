"""The recipe: precedence, refusals, and code that runs only when it is named."""

from pathlib import Path

import pytest
import yaml

from edgekd.errors import BadInput, UsageError
from edgekd.recipe import Recipe
from edgekd.recipe_file import as_yaml, make_recipe, recipe_names


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_options_win_over_the_recipe_and_the_recipe_over_defaults() -> None:
    Path("r.yaml").write_text("epochs: 7\nseed: 3\n")
    plan = make_recipe("r.yaml", model="m.pt2", seed=5, epochs=None)
    assert (plan.epochs, plan.seed, plan.batch_size) == (7, 5, 128)


def test_budgets_merge_by_metric() -> None:
    Path("edgekd.yaml").write_text("budget: [latency=9ms, size=1MiB]\n")
    Path("r.yaml").write_text("budget: [latency=8ms, drop=1%]\n")
    plan = make_recipe("r.yaml", model="m.pt2", budget=("latency=7ms",))
    assert sorted(plan.budget) == ["drop=1%", "latency=7ms", "size=1MiB"]


def test_a_budget_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="second one for latency"):
        make_recipe(model="m.pt2", budget=("latency=7ms", "latency=8ms"))


def test_an_unknown_key_names_the_nearest() -> None:
    Path("r.yaml").write_text("epoch: 7\n")
    with pytest.raises(BadInput, match=r"'epoch' in r\.yaml; did you mean 'epochs'"):
        make_recipe("r.yaml", model="m.pt2")
    with pytest.raises(UsageError, match="did you mean 'temperature'"):
        make_recipe(model="m.pt2", temprature=3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epochs: many\n", "'epochs' in r.yaml is 'many'"),
        ("keep_macs: 1.5\n", "less than 1"),
        ("- a\n- b\n", "key: value"),
        ("a: [unclosed\n", "cannot be read as YAML"),
        ("x: !!python/object/apply:os.system ['touch canary']\n", "cannot be read as YAML"),
    ],
)
def test_a_bad_recipe_file_is_one_sentence(text: str, words: str) -> None:
    Path("r.yaml").write_text(text)
    with pytest.raises(BadInput) as caught:
        make_recipe("r.yaml", model="m.pt2")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("canary").exists()


def test_an_unknown_recipe_name_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'quick-look'"):
        make_recipe("quicklook", model="m.pt2")


def test_epochs_and_time_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="--epochs and --time"):
        make_recipe(model="m.pt2", epochs=1, time="20m")


def test_a_saved_recipe_gives_the_same_plan() -> None:
    plan = make_recipe(model="m.pt2", target="raspberry-pi-4", epochs=3, budget=("drop=1%",), judge=False)
    Path("saved.yaml").write_text(as_yaml(plan))
    assert make_recipe("saved.yaml") == plan


def test_code_in_a_recipe_runs_only_when_named_again_or_trusted() -> None:
    Path("net.py").write_text("def build(): ...\n")
    plan = make_recipe(model="m.pt", arch="net.py:build")
    Path("saved.yaml").write_text(as_yaml(plan))
    assert len(yaml.safe_load(Path("saved.yaml").read_text())["code"]["net.py:build"]) == 64
    with pytest.raises(UsageError, match=r"--arch net\.py:build"):
        make_recipe("saved.yaml")
    assert make_recipe("saved.yaml", arch="net.py:build").arch == "net.py:build"
    assert make_recipe("saved.yaml", trust=True).arch == "net.py:build"
    Path("net.py").write_text("import os\n")
    with pytest.raises(BadInput, match="changed since the recipe was saved"):
        make_recipe("saved.yaml", trust=True)


def test_every_shipped_recipe_is_valid() -> None:
    assert recipe_names() == ["image-classification", "no-data", "quantize-only", "quick-look"]
    for name in recipe_names():
        assert make_recipe(name, model="m.pt2").model == "m.pt2"


def test_every_setting_is_described() -> None:
    undescribed = [name for name, field in Recipe.model_fields.items() if not field.description and name != "code"]
    assert undescribed == []
