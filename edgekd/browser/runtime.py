"""ONNX Runtime for browsers: one script and one WebAssembly module, from npm into the user's cache when asked for."""

import hashlib
import shutil
import tarfile
import tempfile
from pathlib import Path

from edgekd.errors import EdgekdError, PlaceLost
from edgekd.resources import cache_folder
from edgekd.runtimes import in_one_line
from edgekd.system_programs import run_client
from edgekd.workspace import file_sha256, write_atomic

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
FILES = {
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""What a page loads of the package, with its SHA-256: the least that runs float and integer models on the CPU."""


def find_web_runtime() -> Path | None:
    """Return the folder that holds `FILES`, unchanged; None where one is missing. Nothing is fetched."""
    folder = _folder()
    try:
        whole = all(file_sha256(folder / name) == sha for name, sha in FILES.items())
    except OSError:
        return None
    return folder if whole else None


def install_web_runtime() -> Path:
    """Return the folder that holds `FILES`, fetched by npm where they are not there.

    Raises:
        PlaceLost: there is no npm, no network, or what came is not what is expected.
        EdgekdError: the cache cannot be written.
    """
    found = find_web_runtime()
    if found is not None:
        return found
    if shutil.which("npm") is None:
        raise PlaceLost(f"{PACKAGE} is fetched by npm, which is not installed; install Node.js with npm.")
    folder = _folder()
    try:
        with tempfile.TemporaryDirectory(prefix="edgekd-npm-") as scratch:
            members = _members(_download(Path(scratch)))
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in members.items():
            write_atomic(folder / name, data)
    except OSError as error:
        raise EdgekdError(
            f"{PACKAGE} cannot be written to {folder} ({error.strerror or error}); free some space or set "
            "XDG_CACHE_HOME to a folder that can be written."
        ) from error
    return folder


def _folder() -> Path:
    return cache_folder() / f"{PACKAGE}-{VERSION}"


def _download(scratch: Path) -> Path:
    command = ["npm", "pack", "--ignore-scripts", "--silent", f"{PACKAGE}@{VERSION}"]
    done = run_client(command, folder=scratch)
    archive = next(scratch.glob("*.tgz"), None)
    if done.returncode or archive is None:
        words = in_one_line(done.stderr)
        raise PlaceLost(f"npm pack {PACKAGE}@{VERSION} fails: {words}; check the network and try again.")
    return archive


def _members(archive: Path) -> dict[str, bytes]:
    """Read `FILES` out of the package, each only if it is the file whose hash is written here."""
    try:
        with tarfile.open(archive) as package:
            members = {name: _member(package, f"package/dist/{name}") for name in FILES}
    except (tarfile.TarError, EOFError) as error:
        raise PlaceLost(f"{PACKAGE} {VERSION} came broken ({error}); try again.") from error
    for name, sha in FILES.items():
        if hashlib.sha256(members[name]).hexdigest() != sha:
            raise PlaceLost(f"{PACKAGE} {VERSION} came with another {name} than expected; do not trust its source.")
    return members


def _member(package: tarfile.TarFile, name: str) -> bytes:
    """A file's bytes; none where there is no such file."""
    stream = package.extractfile(name) if name in package.getnames() else None
    return stream.read() if stream else b""
