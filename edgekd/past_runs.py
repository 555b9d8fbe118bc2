"""Runs that are over, read again: two of them, or all in a folder, on one page."""

from pathlib import Path

from edgekd.between_runs import RunsCompared, compare_runs
from edgekd.errors import BadInput
from edgekd.history import History, history_of
from edgekd.rendering.between_runs import between_runs_page
from edgekd.rendering.history import history_page
from edgekd.results_file import RESULTS, read_report
from edgekd.stages.report import write_page

OWN = ("history.json", "between_runs.json")
"""What pages of several runs are written beside; no results of a run."""


def report_between(before: str | Path, after: str | Path, *, out: str | Path | None = None) -> RunsCompared:
    """Hold one run against an earlier one; write between_runs.html, .md and .json beside the later's results.json, or
    into the folder `out`. Either is a run folder or a results.json.

    Raises:
        BadInput: there are no results, or they do not hold what results.json must.
    """
    found = compare_runs(read_report(Path(before)), read_report(Path(after)), names=(str(before), str(after)))
    write_page(Path(out or results_folder(after)), "between_runs", found, between_runs_page(found))
    return found


def report_history(folder: str | Path, *, out: str | Path | None = None) -> History:
    """Show the trend of every figure over the runs in a folder; write history.html, .md and .json into it, or `out`.

    Raises:
        BadInput: there is no such folder, or no results in it can be read.
    """
    found = read_history(Path(folder))
    write_page(Path(out or folder), "history", found, history_page(found))
    return found


def results_folder(run: str | Path) -> Path:
    """Return the folder that a run's results.json lies in, the run named by its folder or by that file."""
    return Path(run).parent if Path(run).is_file() else Path(run) / RESULTS.parent


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
