"""Where a user's own device profiles and calibrations live."""

import os
from pathlib import Path


def own_folder() -> Path:
    """The folder of the user's own profiles, `~/.config/edgekd/devices` unless XDG_CONFIG_HOME says otherwise; it
    need not exist."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    config = Path(given) if os.path.isabs(given) else Path.home() / ".config"
    return config / "edgekd" / "devices"


def own_profile_file(name: str) -> Path:
    """The file of the user's own profile of that name; it need not exist."""
    return own_folder() / f"{name}.yaml"


def own_profile_files() -> dict[str, Path]:
    """The user's own profiles by name."""
    return {path.stem: path for path in sorted(own_folder().glob("*.yaml"))}


def host_costs_file() -> Path:
    """Where `edgekd devices calibrate host` writes what operators take on this machine."""
    return own_folder() / "host.json"
