"""The results of many runs, as they lie in a folder."""

from pathlib import Path

from edgekd.errors import BadInput
from edgekd.gate import read_report
from edgekd.history import History, history_of

OWN = ("history.json", "between_runs.json")
"""What pages of several runs are written beside; no results of a run."""


def read_history(folder: Path) -> History:
    """Read every results.json at any depth of a folder, and every other .json at its top.

    Files that are no results are named in `left_out`.

    Raises:
        BadInput: the folder is none, or holds no results that can be read.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder; name one that holds run folders or their results.json.")
    runs, left_out = [], {}
    for file in sorted({*folder.rglob("results.json"), *folder.glob("*.json")}):
        name = str(file.relative_to(folder))
        if name not in OWN:
            try:
                runs.append((name, read_report(file), file.stat().st_mtime))
            except BadInput as error:
                left_out[name] = str(error)
    if not runs:
        why = f"; {next(iter(left_out.values()))}" if left_out else "; name one that holds run folders."
        raise BadInput(f"{folder} holds no results.json that can be read{why}")
    return history_of(runs, left_out=left_out)
