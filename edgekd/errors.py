"""Everything edgekd says no with; one class per exit code.

    EdgekdError
    |- UsageError     2   an option, recipe key or name that does not exist or does not combine
    |- BadInput       3   a model, data set, recipe or artifact that cannot be used as it is
    `- PlaceLost      4   a place is not there, or went away in the middle

A missed budget (1) and an inconclusive verdict (5) are results, not exceptions; an interrupt (130) is Python's own
KeyboardInterrupt. Every message is one sentence: what is wrong, where (file, key, line, node), and what to do.
"""

import difflib
from collections.abc import Iterable


class EdgekdError(Exception):
    """A failure that is explained to the user in one sentence, without a traceback."""

    exit_code = 3


class UsageError(EdgekdError):
    """The command line, recipe or keyword arguments ask for something that does not exist or does not combine."""

    exit_code = 2


class BadInput(EdgekdError):
    """A file that came in cannot be used as it is."""

    exit_code = 3


class PlaceLost(EdgekdError):
    """The place that a benchmark was to run on is not there, or went away."""

    exit_code = 4


def one_line(text: str) -> str:
    """Return the whole text as one printable line.

    White space becomes a space each, and whatever else a terminal might obey (control characters, right-to-left
    overrides) becomes U+FFFD. Nothing is shortened; `rendering.text.clean` is for names that must be short.
    """
    shown = "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)
    return shown.replace("##[", "## [").rstrip()  # GitHub's runner obeys ##[COMMAND] anywhere in a line


def reason_of(error: Exception, longest: int = 200) -> str:
    """Return the first line of what another library raised, or its type where it says nothing; cut to `longest`."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:longest]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the nearest known name, or the known names where none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}"
