"""How long work tells what it is doing: a value handed to a listener. Nothing below the command line prints."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Tick:
    """`done` of `total` steps of `phase`; `detail` is a short line such as "loss 1.23  412 images/s"."""

    phase: str
    done: int
    total: int
    detail: str = ""
    seconds_left: float | None = None


@dataclass(frozen=True)
class StageNote:
    """A stage began, was taken over from an earlier run, or found something worth a line."""

    stage: str
    text: str
    kind: str = "note"
    """"start", "cached", "done" or "note"."""


Listener = Callable[[Tick | StageNote], None]


def silent(event: Tick | StageNote) -> None:
    """The listener that says nothing."""
