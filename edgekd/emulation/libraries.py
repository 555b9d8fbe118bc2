"""The C and C++ libraries for AArch64: the system's cross libraries, else Debian's, unpacked."""

from pathlib import Path

from edgekd.emulation.fetch import fetch_debian
from edgekd.emulation.part import find_part, make_part
from edgekd.errors import PlaceLost

LOADER = "ld-linux-aarch64.so.1"
NEEDED = (LOADER, "libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1")
STUBS = ("libdl.so.2", "libpthread.so.0", "librt.so.1")
"""Empty since glibc 2.34, and asked for by what was built before."""
_PACKAGES = ("libc6-arm64-cross", "libstdc++6-arm64-cross", "libgcc-s1-arm64-cross")
_PART = ("libraries", _PACKAGES)
_SYSTEM = Path("/usr/aarch64-linux-gnu/lib")


def find_libraries() -> Path | None:
    """Return the folder of the libraries: the system's, else the one in the cache; None where neither is there."""
    part = find_part(*_PART)
    folders = (_SYSTEM, *([part[0] / _SYSTEM.relative_to("/")] if part else []))
    return next((folder for folder in folders if all((folder / name).is_file() for name in NEEDED)), None)


def fetch_libraries() -> Path:
    """Return that folder, fetched into the cache where it is not there. Raises PlaceLost where that fails."""
    found = find_libraries()
    if found is None:
        make_part(*_PART, lambda folder: fetch_debian(_PACKAGES, folder))
        found = find_libraries()
    if found is None:
        raise PlaceLost(f"Debian's {_PACKAGES[0]} holds no {' and '.join(NEEDED)}; install it by the system's means.")
    return found
