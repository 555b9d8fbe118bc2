"""The run folder: stages that are finished or not there, keys that say what they were made from, and resume.

A stage writes into `stages/NAME.partial`; when it returns, its files are hashed and synced, `done.json` is written
last, and the folder is renamed to `stages/NAME`. So a kill at any moment leaves the finished stage or a partial one,
and never half a file under a final name.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from filelock import FileLock, Timeout
from pydantic import ValidationError

from edgekd.errors import EdgekdError, UsageError
from edgekd.progress import Listener, StageNote, silent
from edgekd.record import Record
from edgekd.version import __version__

R = TypeVar("R", bound=Record)
_MARK = "edgekd-run.json"
BOOKKEEPING = ("key", "done.json", "log.txt")
"""Files of a stage's folder that are not its output."""


@dataclass(frozen=True)
class Finished(Generic[R]):
    """A finished stage: what it found, where its files are, and the digest that later stages build their keys from."""

    record: R
    folder: Path
    digest: str
    seconds: float


@dataclass(frozen=True)
class Workspace:
    """One run folder, locked by this process."""

    root: Path
    listen: Listener = silent

    def stage(
        self, name: str, made_from: Any, record: type[R], work: Callable[[Path], R], *, keep_partial: bool = False
    ) -> Finished[R]:
        """Return the stage as an earlier run finished it from the same inputs, or do the work.

        Args:
            name: folder under `stages/`.
            made_from: JSON-able description of everything the result depends on; a change redoes the stage.
            record: class of the stage's result.
            work: called with an empty folder; with `keep_partial`, with whatever an interrupted run left there.
        """
        final = self.root / "stages" / name
        key = stage_key(name, made_from)
        finished = read_finished(final, key, record)
        if finished is not None:
            self.listen(StageNote(name, "taken over from the earlier run", "cached"))
            return finished
        partial = final.with_name(f"{name}.partial")
        _prepare_partial(partial, key, keep=keep_partial)
        self.listen(StageNote(name, "", "start"))
        began = time.monotonic()
        with _logged(partial / "log.txt"):
            result = work(partial)
            _finish(partial, final, key, result, time.monotonic() - began)
        done = read_finished(final, key, record)
        if done is None:
            raise EdgekdError(f"The stage {name} in {final} changed while it was being written; run again.")
        self.listen(StageNote(name, f"{done.seconds:.1f} s", "done"))
        return done

    def remove(self, *names: str) -> None:
        """Delete what an earlier run left in these folders, so that nothing in them is taken for this run's."""
        for name in names:
            shutil.rmtree(self.root / name, ignore_errors=True)


@contextlib.contextmanager
def open_workspace(root: Path, *, fresh: bool = False, listen: Listener = silent) -> Iterator[Workspace]:
    """Create or reopen a run folder and hold its lock; while it is held, a write that fails is explained.

    Raises:
        UsageError: the folder holds something that is not a run, cannot be written, or another run is using it.
        EdgekdError: the disk is full, or something in the folder cannot be written.
    """
    mark = root / _MARK
    try:
        if root.exists() and not root.is_dir():
            raise UsageError(f"--out {root} is a file; name a folder.")
        if root.is_dir() and not mark.exists() and any(p.name != f"{_MARK}.lock" for p in root.iterdir()):
            raise UsageError(f"--out {root} holds files that are not an edgekd run; name an empty or new folder.")
        (root / "stages").mkdir(parents=True, exist_ok=True)
        write_atomic(mark, json.dumps({"schema": 1, "edgekd": __version__}).encode())
        lock = FileLock(root / f"{_MARK}.lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise UsageError(f"Another edgekd is using {root}; wait for it, or give --out another folder.") from None
    except OSError as error:
        if _is_full(error):
            raise _disk_full(root) from None
        reason = error.strerror or error
        raise UsageError(f"The run folder {root} cannot be written ({reason}); give --out another folder.") from None
    try:
        with _failed_writes_in_a_sentence(root):
            if fresh:
                for old in ("stages", "artifact", "report", "bench"):
                    shutil.rmtree(root / old, ignore_errors=True)
                (root / "stages").mkdir()
            yield Workspace(root, listen)
    finally:
        lock.release()


def stage_key(name: str, made_from: Any) -> str:
    """What a stage was made from, as one hash."""
    return fingerprint({"stage": name, "edgekd": __version__, "from": made_from})


def fingerprint(value: Any) -> str:
    """SHA-256 of a JSON-able value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source_stamp(path: Path) -> str:
    """A cheap stamp of a file or folder of data: names, sizes and times, not contents. Links are followed."""
    if path.is_file():
        return fingerprint([path.stat().st_size, path.stat().st_mtime_ns])
    found = []
    entered: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(path, followlinks=True):
        here = os.stat(folder)
        if (here.st_dev, here.st_ino) in entered:
            folders.clear()
            continue
        entered.add((here.st_dev, here.st_ino))
        stats = ((name, os.stat(Path(folder) / name)) for name in files if (Path(folder) / name).exists())
        found += [(os.path.relpath(folder, path), name, s.st_size, s.st_mtime_ns) for name, s in stats]
    return fingerprint(sorted(found))


def write_atomic(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file, its content whole or in pieces, so that its name never shows half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None  # the name that the user knows
    finally:
        temporary.unlink(missing_ok=True)


def publish_folder(source: Path, final: Path) -> None:
    """Make `final` a copy of the finished folder `source`, so that `final` is always whole."""
    staging, old = final.with_name(f".{final.name}.new"), final.with_name(f".{final.name}.old")
    for leftover in (staging, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        shutil.copytree(source, staging, ignore=shutil.ignore_patterns(*BOOKKEEPING))
        if final.exists():
            final.rename(old)
        staging.rename(final)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _prepare_partial(partial: Path, key: str, *, keep: bool) -> None:
    mark = partial / "key"
    same = mark.is_file() and mark.read_text() == key
    if not (keep and same):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_atomic(mark, key.encode())


def _finish(partial: Path, final: Path, key: str, result: Record, seconds: float) -> None:
    files = sorted(p for p in partial.rglob("*") if p.is_file() and p.name not in BOOKKEEPING)
    for path in files:
        _sync(path)
    done = {
        "schema": 1,
        "key": key,
        "seconds": round(seconds, 3),
        "files": {str(p.relative_to(partial)): file_sha256(p) for p in files},
        "result": result.model_dump(mode="json", by_alias=True),
    }
    write_atomic(partial / "done.json", json.dumps(done, indent=1).encode())
    _sync(partial)
    stale = final.with_name(f"{final.name}.stale")
    shutil.rmtree(stale, ignore_errors=True)
    if final.exists():
        final.rename(stale)
    partial.rename(final)
    _sync(final.parent)
    shutil.rmtree(stale, ignore_errors=True)


def read_finished(folder: Path, key: str, record: type[R]) -> Finished[R] | None:
    """The finished stage, or None where it is missing, made from something else, or its files changed since."""
    try:
        text = (folder / "done.json").read_bytes()
        done = json.loads(text)
        if done["key"] != key or any(file_sha256(folder / name) != sha for name, sha in done["files"].items()):
            return None
        result = record.model_validate(done["result"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None
    digest = fingerprint({"key": key, "files": done["files"], "result": done["result"]})
    return Finished(result, folder, digest, done["seconds"])


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Keep what the stage logs from INFO on, whatever of it is shown elsewhere; a resumed stage adds to its log."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
    logger = logging.getLogger("edgekd")
    level, asked = logger.level, logger.getEffectiveLevel()
    # The handlers of a program that uses us as a library show what they would have shown without this log.
    others = [*logger.handlers, *(logging.getLogger().handlers if logger.propagate else ())]

    def as_asked(record: logging.LogRecord) -> bool:
        return record.levelno >= asked or not record.name.startswith("edgekd")

    for other in others:
        other.addFilter(as_asked)
    logger.addHandler(handler)
    logger.setLevel(min(asked, logging.INFO))
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        for other in others:
            other.removeFilter(as_asked)
        handler.close()


@contextlib.contextmanager
def _failed_writes_in_a_sentence(root: Path) -> Iterator[None]:
    """Libraries report a full disk in many ways; the disk itself is asked."""
    try:
        yield
    except Exception as error:
        if _is_full(error) or (root.exists() and shutil.disk_usage(root).free < 1 << 20):
            raise _disk_full(root) from error
        inside = isinstance(error, OSError) and str(error.filename).startswith(f"{root}{os.sep}")
        if inside and isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise EdgekdError(
                f"{error.filename} cannot be written ({error.strerror}); make the run folder writable and run the same "
                "command again to go on from here, or give --out another folder."
            ) from error
        raise


def _is_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _disk_full(root: Path) -> EdgekdError:
    return EdgekdError(
        f"The disk is full: the run folder {root} could not be written; "
        "free some space and run the same command again to go on from here."
    )
