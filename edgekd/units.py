"""Units that a user may write, each with what it is of the unit that figures are kept in."""

import re

from edgekd.errors import UsageError

MILLISECONDS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
KIBIBYTES = {"KiB": 1.0, "MiB": 1024.0, "GiB": 1024.0**2, "KB": 1e3 / 1024, "MB": 1e6 / 1024, "GB": 1e9 / 1024}
SHARES = {"%": 0.01}

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse_seconds(text: str, option: str = "--time") -> float:
    """Return the seconds of "90s", "20m", "1.5h" or "1h30m". Raises UsageError that names the option."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh])", text)
    total = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text.strip() or not total:
        raise UsageError(f"{option} {text!r} is no length of time; write it like 90s, 20m or 1h30m")
    return total
