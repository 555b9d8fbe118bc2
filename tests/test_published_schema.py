"""The schemas in `docs/` are what `results.json` promises to other tools, and what editors check our files by."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from edgekd.budget import parse_budget
from edgekd.editor_schemas import project_schema_text, recipe_schema_text
from edgekd.errors import UsageError
from edgekd.recipe import Recipe
from edgekd.results import schema_text

DOCS = Path(__file__).resolve().parents[1] / "docs"
PUBLISHED = DOCS / "results.schema.json"
TEXTS = {"results": schema_text, "recipe": recipe_schema_text, "edgekd": project_schema_text}


@pytest.mark.parametrize("name", TEXTS)
def test_the_published_schema_is_that_of_the_record(name: str) -> None:
    """After a change on purpose: `make schema`."""
    assert (DOCS / f"{name}.schema.json").read_text() == TEXTS[name]()


@pytest.mark.parametrize(
    "limit",
    [
        *("latency=30ms", "latency_p50=.5s", "latency_p95=250 µs", "latency_p99=1e3US", " load = 1.5 s "),
        *("memory=64mib", "size=500KB", "drop=1%", "latency=60ms@raspberry-pi-4", "size=2MiB @ pi4"),
        *("latency=30", "latency=30MiB", "drop=1ms", "latancy=30ms", "latency", "size=MiB", "latency=30ms@", "=1%"),
    ],
)
def test_an_editor_takes_the_limits_that_are_read_and_no_others(limit: str) -> None:
    try:
        parse_budget(limit)
    except UsageError:
        read = False
    else:
        read = True
    checker = jsonschema.Draft202012Validator(json.loads(project_schema_text()))
    assert checker.is_valid({"budget": [limit], "warn": limit}) is read


def test_an_editor_knows_the_keys_of_files_and_what_ships() -> None:
    texts = project_schema_text(), recipe_schema_text()
    project, recipe = (jsonschema.Draft202012Validator(json.loads(text)) for text in texts)
    assert not project.is_valid({"epochs": 3}) and not project.is_valid({"budgets": []})
    assert not recipe.is_valid({"epoch": 3}) and not recipe.is_valid({"trust": True}) and recipe.is_valid({"epochs": 3})
    assert not recipe.is_valid({"epochs": "many"}) and not recipe.is_valid({"augment": "some"})
    assert recipe.is_valid({"schemes": ["fp32", "int8_static"], "loss": "hint", "input_size": [32, 32]})
    assert set(json.loads(recipe_schema_text())["properties"]) == {*Recipe.model_fields} - {"trust"}
    for path in (DOCS.parent / "pipelines").glob("*.yaml"):
        recipe.validate(yaml.safe_load(path.read_text()))


@pytest.mark.slow
def test_a_real_run_fits_the_published_schema(finished_run: Path) -> None:
    results = json.loads((finished_run / "report" / "results.json").read_text())
    jsonschema.validate(results, json.loads(PUBLISHED.read_text()))
    results["verdict"] = "perhaps"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(results, json.loads(PUBLISHED.read_text()))
