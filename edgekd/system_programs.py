"""Programs of the system, run with nothing to read, and what they write kept."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgekd.errors import PlaceLost

FETCHING_SECONDS = 600
"""After which a client of a package index is stopped."""


def run_quietly(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; what is not UTF-8 in its output is replaced.

    Raises what `subprocess.run` does: OSError where it cannot be started, TimeoutExpired after so many seconds.
    """
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        timeout=seconds,
    )


def run_client(command: Sequence[str], *, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a client of a package index (apt, pip, npm). Raises PlaceLost where it does not end."""
    try:
        return run_quietly(
            command, folder=folder, environment={**os.environ, "LC_ALL": "C.UTF-8"}, seconds=FETCHING_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise PlaceLost(
            f"{command[0]} was stopped after {FETCHING_SECONDS} s; check the network and try again."
        ) from error
