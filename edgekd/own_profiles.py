"""Where a user's own device profiles and calibrations live."""

import os
from pathlib import Path


def own_folder() -> Path:
    """The folder of the user's own profiles, `~/.config/edgekd/devices` unless XDG_CONFIG_HOME says otherwise; it
    need not exist."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    config = Path(given) if os.path.isabs(given) else Path.home() / ".config"
    return config / "edgekd" / "devices"


def host_costs_file() -> Path:
    """Where `edgekd devices calibrate host` writes what operators take on this machine."""
    return own_folder() / "host.json"
