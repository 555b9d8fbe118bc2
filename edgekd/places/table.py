"""The places that there are, by the word that their names begin with."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from edgekd.errors import UsageError
from edgekd.places.adb import open_adb
from edgekd.places.host import open_host
from edgekd.places.place import Place
from edgekd.places.ssh import open_ssh

FORMS = "host, ssh://user@host and adb://serial; emulate:CORE only counts instructions, with `edgekd bench`"


def open_place(text: str) -> AbstractContextManager[Place]:
    """Open the place that `text` means. Raises UsageError where there is none of that kind."""
    kind = text.partition("://")[0]
    if kind not in PLACES:
        raise UsageError(f"There is no place {text!r}; places are {FORMS}.")
    return PLACES[kind](text)


PLACES: dict[str, Callable[[str], AbstractContextManager[Place]]] = {
    "host": lambda _: open_host(),
    "ssh": open_ssh,
    "adb": open_adb,
}
