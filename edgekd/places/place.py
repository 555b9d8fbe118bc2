"""Where a benchmark runs. So far on this machine only."""

from collections.abc import Callable

from edgekd.errors import UsageError
from edgekd.figures import Bench
from edgekd.places.host import bench

LATER = ("ssh", "adb", "emulate")


def parse_place(text: str) -> str:
    """Return the key in PLACES that `text` means. Raises UsageError for a place that is unknown or not there yet."""
    if text in PLACES:
        return text
    if text.partition(":")[0] in LATER:
        raise UsageError(f"Benchmarks on {text!r} are not there yet; the only place now is 'host', this machine.")
    raise UsageError(f"There is no place {text!r}; the only place now is 'host', this machine.")


PLACES: dict[str, Callable[..., Bench]] = {"host": bench}
