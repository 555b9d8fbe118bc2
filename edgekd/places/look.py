"""What a place is, has and does right now, without timing anything there."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd import runtime_ceilings
from edgekd.errors import EdgekdError
from edgekd.places.place import Place, persistently
from edgekd.places.process import PROGRAM
from edgekd.places.table import open_place

_CONDITIONS = "import json, runpy, sys; print(json.dumps(runpy.run_path(sys.argv[1])['conditions']()))"
_SECONDS = 120.0


@dataclass(frozen=True)
class Look:
    """What was seen. `facts` hold the present state too; ceilings are those of its ONNX Runtime, 0 without one."""

    place: str
    python: str
    facts: dict[str, Any]
    max_opset: int
    max_ir: int


def look_at(text: str) -> Look:
    """Look at a place. Raises what opening it raises, and UsageError where it has no Python of use."""
    with open_place(text) as place:

        def look() -> Look:
            facts = place.facts()
            state = _said(place, ["-c", _CONDITIONS, place.put(PROGRAM)]) if facts["versions"]["numpy"] else {}
            loads = (
                _said(place, [place.put(Path(runtime_ceilings.__file__))]) if facts["versions"]["onnxruntime"] else {}
            )
            ceilings = (loads.get("max_opset", 0), loads.get("max_ir", 0))
            return Look(place.name, place.python[0], {**facts, **state}, *ceilings)

        return persistently(place, look)


def _said(place: Place, words: Sequence[str]) -> dict[str, Any]:
    """What a program there prints as JSON; nothing where it fails."""
    try:
        done = place.run([*place.python, *words], _SECONDS)
    except subprocess.TimeoutExpired as error:
        raise EdgekdError(f"{place.name}: a small program did not end there in {_SECONDS:.0f} s.") from error
    return dict(json.loads(done.stdout)) if done.code == 0 else {}
