"""What a place is, has and does right now, without timing anything there."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd import runtime_ceilings
from edgekd.emulation.board import find_board_files
from edgekd.errors import UsageError
from edgekd.places.compiled import ARCHITECTURE, conditions_of, facts_of, version_sent
from edgekd.places.host import open_host
from edgekd.places.place import Place, persistently, run_small
from edgekd.places.process import PROGRAM
from edgekd.places.programs import check_architecture, lacking, python_is_named
from edgekd.places.table import open_place

_CONDITIONS = "import json, runpy, sys; print(json.dumps(runpy.run_path(sys.argv[1])['conditions']()))"


@dataclass(frozen=True)
class Look:
    """What was seen. `facts` hold the present state too; ceilings are those of its ONNX Runtime, 0 without one.

    Where `compiled`, its Python lacks what benchmarks take, and they are run by a program in C, if that is here.
    """

    place: str
    python: str
    facts: dict[str, Any]
    max_opset: int
    max_ir: int
    compiled: bool = False


def look_at(text: str) -> Look:
    """Look at a place. Raises what opening it raises, and UsageError where nothing can be run there."""
    with open_place(text) as place:
        return persistently(place, lambda: _look(place))


def _look(place: Place) -> Look:
    named, facts = python_is_named(place), dict[str, Any]()
    try:
        facts = place.facts()
        why = lacking(place, facts, "onnxruntime")
    except UsageError as error:
        if named:
            raise
        why = str(error).rstrip(".")
    if why and not named:
        facts = facts or facts_of(place)
        if facts["architecture"] == ARCHITECTURE:
            return _without_python(place, facts)
        if facts["python"] is None:
            check_architecture(facts, why)
    state = _said(place, ["-c", _CONDITIONS, place.put(PROGRAM)]) if facts["versions"]["numpy"] else {}
    loads = _ceilings(place) if facts["versions"]["onnxruntime"] else (0, 0)
    return Look(place.name, place.python[0], {**facts, **state}, *loads)


def _without_python(place: Place, facts: dict[str, Any]) -> Look:
    """A look by the program in C, where that is here; what it loads, the same version loads here."""
    files, state, loads = find_board_files(version_sent()), dict[str, float](), (0, 0)
    if files is not None:
        state = conditions_of(place, files)
        facts = {**facts, "versions": {**facts["versions"], "onnxruntime": version_sent()}}
        with open_host() as here:
            loads = _ceilings(here)
    return Look(place.name, place.python[0], {**facts, **state}, *loads, compiled=True)


def _ceilings(place: Place) -> tuple[int, int]:
    found = _said(place, [place.put(Path(runtime_ceilings.__file__))])
    return found.get("max_opset", 0), found.get("max_ir", 0)


def _said(place: Place, words: Sequence[str]) -> dict[str, Any]:
    """What a program there prints as JSON; nothing where it fails."""
    done = run_small(place, [*place.python, *words])
    return dict(json.loads(done.stdout)) if done.code == 0 else {}
