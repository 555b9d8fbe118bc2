"""Progress and results for a person: plain lines on stderr, one live line where there is a terminal."""

import logging
import sys
import time
from dataclasses import dataclass, field

from edgekd.errors import one_line
from edgekd.progress import Listener, StageNote, Tick, silent

STAGES = ("load", "distill", "export", "quantize", "benchmark", "choose", "configure", "package", "report")
_PART_OF = {"emulate": "benchmark"}
"""A stage that only some runs have, to the one it goes on with."""
_PLAIN_EVERY_SECONDS = 10.0


def make_listener(*, quiet: bool, verbose: bool) -> Listener:
    """A listener for the pipeline; also routes edgekd's own log lines to stderr.

    What the console shows is up to its handler: the log of a stage is whole with --quiet too.
    """
    lines = _Lines(live=sys.stderr.isatty())
    handler = logging.StreamHandler(lines)
    handler.setLevel(logging.WARNING if quiet else logging.DEBUG)
    handler.setFormatter(logging.Formatter("      %(message)s"))
    logger = logging.getLogger("edgekd")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False
    logging.raiseExceptions = False  # on a full disk, the log's own traceback would hide the sentence that says so
    return silent if quiet else lines


@dataclass
class _Lines:
    """A listener, and the stream of a logging handler, so that both know of the live line."""

    live: bool
    _shown_at: dict[str, float] = field(default_factory=dict)
    _line_open: bool = False

    def __call__(self, event: Tick | StageNote) -> None:
        self._note(event) if isinstance(event, StageNote) else self._tick(event)

    def _note(self, note: StageNote) -> None:
        stage = _PART_OF.get(note.stage, note.stage)
        number = STAGES.index(stage) + 1 if stage in STAGES else 0
        head = f"[{number}/{len(STAGES)}] {note.stage:<9}" if note.kind in ("start", "cached") else " " * 5
        if note.kind == "done":
            self.write(f"      {note.stage} took {note.text}")
        elif note.text or note.kind == "start":
            self.write(f"{head} {note.text}")

    def _tick(self, tick: Tick) -> None:
        now = time.monotonic()
        last = self._shown_at.get(tick.phase)
        finished = tick.done >= tick.total
        wait = 0.2 if self.live else _PLAIN_EVERY_SECONDS
        if last is not None and now - last < wait and not finished:
            return
        self._shown_at[tick.phase] = now
        left = "" if tick.seconds_left is None else f"  {_minutes(tick.seconds_left)} left"
        text = f"      {tick.phase} {tick.done}/{tick.total}  {tick.detail}{left}"
        if self.live and not finished:
            sys.stderr.write(f"\r\x1b[K{one_line(text)[:110]}")
            sys.stderr.flush()
            self._line_open = True
        else:
            self.write(text)

    def write(self, text: str) -> None:
        """Write one line, in place of the live one; a logging handler writes its records here too."""
        if self._line_open:
            sys.stderr.write("\r\x1b[K")
            self._line_open = False
        sys.stderr.write(one_line(text) + "\n")
        sys.stderr.flush()


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
