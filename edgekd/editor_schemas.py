"""The JSON schemas by which editors complete and check `edgekd.yaml` and recipes, as published in `docs/`."""

import json
from typing import Any

from edgekd.budget import ALIASES, UNITS_OF
from edgekd.recipe import Recipe

_NUMBER = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"
_LIMITS = {
    "budget": "Limits whose miss fails a run or a gate.",
    "warn": "Limits whose miss is only said.",
}
_NOT_IN_A_FILE = ("trust",)
_SEVERAL = {"type": "array", "items": {"type": ["string", "number"]}}
"""A list, which files may give wherever the command line takes values between commas."""


def project_schema_text() -> str:
    """The JSON schema of `edgekd.yaml`."""
    return _text("edgekd.yaml: the limits of a project", {})


def recipe_schema_text() -> str:
    """The JSON schema of a recipe, made from the fields of `Recipe`."""
    fields = Recipe.model_json_schema()["properties"]
    return _text("A recipe: the plan of one run", {name: _property(field) for name, field in fields.items()})


def _text(title: str, properties: dict[str, Any]) -> str:
    limit = {"type": "string", "pattern": _pattern(), "examples": ["latency=30ms", "latency=60ms@raspberry-pi-4"]}
    one = {"$ref": "#/$defs/limit"}
    limits = {
        name: {"description": said, "anyOf": [{"type": "array", "items": one}, one]} for name, said in _LIMITS.items()
    }
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
        "additionalProperties": False,
        "properties": {name: found for name, found in {**properties, **limits}.items() if name not in _NOT_IN_A_FILE},
        "$defs": {"limit": limit},
    }
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _property(field: dict[str, Any]) -> dict[str, Any]:
    """A field as a file may give it, without what only the command line needs."""
    kept = {key: value for key, value in field.items() if key not in ("panel", "title")}
    described: dict[str, Any] = {key: kept.pop(key) for key in ("description", "default") if key in kept}
    kinds = kept.pop("anyOf", None) or [kept]
    if any(kind.get("type") == "string" and "enum" not in kind for kind in kinds):
        kinds = [*kinds, _SEVERAL]
    elif any(kind.get("type") == "array" for kind in kinds):
        kinds = [*kinds, {"type": "string"}]
    return {**described, "anyOf": kinds} if len(kinds) > 1 else {**described, **kinds[0]}


def _pattern() -> str:
    """What `edgekd.budget.parse_budget` reads; units in any case, for which this dialect has no flag."""
    by_units: dict[str, list[str]] = {}
    for metric, units in UNITS_OF.items():
        names = [metric, *(alias for alias, name in ALIASES.items() if name == metric)]
        by_units.setdefault("|".join("".join(map(_either_case, unit)) for unit in units), []).extend(names)
    kinds = [rf"({'|'.join(names)})\s*=\s*{_NUMBER}\s*({units})" for units, names in by_units.items()]
    return rf"^\s*({'|'.join(kinds)})\s*(@.*\S.*)?$"


def _either_case(letter: str) -> str:
    return f"[{letter.upper()}{letter.lower()}]" if letter.isascii() and letter.isalpha() else letter
