"""`docs/results.schema.json` is what `results.json` promises to tools that are not ours."""

import json
from pathlib import Path

import jsonschema
import pytest

from edgekd.results import schema_text

PUBLISHED = Path(__file__).resolve().parents[1] / "docs" / "results.schema.json"


def test_the_published_schema_is_that_of_the_record() -> None:
    """After a change on purpose: `make schema`."""
    assert PUBLISHED.read_text() == schema_text()


@pytest.mark.slow
def test_a_real_run_fits_the_published_schema(finished_run: Path) -> None:
    results = json.loads((finished_run / "report" / "results.json").read_text())
    jsonschema.validate(results, json.loads(PUBLISHED.read_text()))
    results["verdict"] = "perhaps"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(results, json.loads(PUBLISHED.read_text()))
