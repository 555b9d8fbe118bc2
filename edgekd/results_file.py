"""Reading `results.json`: what a run found out, or the one sentence that says what is wrong with the file."""

import json
from pathlib import Path

from pydantic import ValidationError

from edgekd.errors import BadInput
from edgekd.results import Report
from edgekd.version import __version__

RESULTS = Path("report") / "results.json"
_MOST_BYTES = 2**28


def read_report(run: Path) -> Report:
    """Read RUN/report/results.json, or `run` itself where it is a file. Raises BadInput naming the file and the key."""
    file = run / RESULTS if run.is_dir() else run
    if not run.exists():
        raise BadInput(f"{run} does not exist; name a run folder that edgekd compress wrote.")
    if not file.is_file():
        raise BadInput(f"{run} holds no {RESULTS.as_posix()}; finish the run with --resume first.")
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise BadInput(f"{file} is larger than any results.json; check the path.")
        content = file.read_bytes()
    except OSError as error:
        raise BadInput(f"{file} cannot be read ({error.strerror}): check its permissions") from None
    try:
        return Report.model_validate_json(content, strict=True)
    except ValidationError as error:
        raise BadInput(f"{file}: {first_fault(error)}; {_mend(content)}") from None


def first_fault(error: ValidationError) -> str:
    """Say the first thing that is wrong: the key, then what pydantic expected there."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if fault["type"] == "json_invalid":
        return f"this is no JSON, or not the whole of it ({fault['msg'].removeprefix('Invalid JSON: ')[:100]})"
    key = ".".join(str(part) for part in fault["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{key[:80]!r} {fault['msg'][:1].lower()}{fault['msg'][1:200]}{more}"


def _mend(content: bytes) -> str:
    """What to do: a file of another version may be right, and only unknown to this one."""
    try:
        version = json.loads(content)["edgekd"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "write the run anew with edgekd compress."
    if version == __version__:
        return "write the run anew with edgekd compress."
    return (
        f"it was written by edgekd {str(version)[:40]!r}, and this is {__version__}: write the run anew with this one."
    )
