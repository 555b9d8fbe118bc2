"""Writing an .npy file row by row, its final length unknown, so that nothing is held in memory or written twice."""

import contextlib
import errno
import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.errors import EdgekdError


def disk_full(path: Path) -> EdgekdError:
    """The failure to raise where there is no room for `path`."""
    return EdgekdError(f"disk full while writing {str(path)!r}; free some space there and start again")


class RowWriter:
    """Append arrays of one shape and type; on a clean exit the file takes its final name, else it is removed."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        self.count = 0
        self._digest = hashlib.sha256()
        self._partial = path.with_name(f".{path.name}.partial")

    def __enter__(self) -> "RowWriter":
        self._file = self._partial.open("wb")
        self._write_header()
        return self

    def append(self, row: npt.NDArray[Any]) -> None:
        """Write one row. Raises EdgekdError where the disk is full."""
        content = np.ascontiguousarray(row, self.dtype).tobytes()
        self._digest.update(content)
        self.count += 1
        try:
            self._file.write(content)
        except OSError as error:
            raise self._explained(error) from error

    @property
    def sha256(self) -> str:
        """Of shape, type and content."""
        whole = self._digest.copy()
        whole.update(f"{self.count} {self.shape} {self.dtype.str}".encode())
        return whole.hexdigest()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._file.seek(0)
                self._write_header()
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
                os.replace(self._partial, self.path)
        except OSError as failure:
            raise self._explained(failure) from failure
        finally:
            self._discard()

    def _write_header(self) -> None:
        # numpy leaves room in the header for the first dimension to grow, so the second header fits over the first.
        shape = (self.count, *self.shape)
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)

    def _explained(self, error: OSError) -> EdgekdError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return disk_full(self.path)
        return EdgekdError(f"{str(self.path)!r} cannot be written: {error.strerror}; choose another --out")

    def _discard(self) -> None:
        with contextlib.suppress(OSError):  # what could not be flushed belongs to a file that is removed next
            self._file.close()
        self._partial.unlink(missing_ok=True)
