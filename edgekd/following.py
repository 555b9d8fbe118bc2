"""A run folder as the second and further of several training processes see it: they wait, train along, and leave."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from edgekd.record import Record
from edgekd.workspace import Finished, read_finished, stage_key

R = TypeVar("R", bound=Record)

SHARED_STAGE = "distill"
"""The one stage that all processes do together; the others are done by the first alone."""
POLL_SECONDS = 0.2


class Done(Exception):
    """The shared stage is over, and the first process goes on alone."""


@dataclass(frozen=True)
class Follower:
    """Takes the place of `workspace.Workspace`: nothing is locked, and finished stages are only read."""

    root: Path

    def stage(
        self, name: str, made_from: Any, record: type[R], work: Callable[[Path], R], *, keep_partial: bool = False
    ) -> Finished[R]:
        """Wait for a stage of the first process; do the shared one with it, in its folder, and leave by `Done`."""
        final, key = self.root / "stages" / name, stage_key(name, made_from)
        partial = final.with_name(f"{name}.partial")
        while True:
            finished = read_finished(final, key, record)
            if finished is not None and name == SHARED_STAGE:
                raise Done
            if finished is not None:
                return finished
            if name == SHARED_STAGE and (partial / "key").is_file() and (partial / "key").read_text() == key:
                work(partial)
                raise Done
            time.sleep(POLL_SECONDS)

    def remove(self, *names: str) -> None:
        """Leave these folders to the first process, which may already have written them anew."""
