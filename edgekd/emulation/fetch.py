"""Packages by the ordinary clients, apt and pip, unpacked without root rights."""

import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from edgekd.emulation.part import Origin
from edgekd.errors import PlaceLost
from edgekd.runtimes import in_one_line
from edgekd.system_programs import run_client
from edgekd.workspace import file_sha256

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_C_LIBRARY = {"libc6", "libgcc-s1", "gcc-12-base"}
"""An older C library cannot be loaded by a newer system's loader, and a newer one does as well."""


def fetch_debian(packages: Sequence[str], folder: Path, *, release: str = "") -> Origin:
    """Download Debian packages, with what they depend on and this system lacks, and unpack them into `folder`.

    apt checks their signatures. Where the system's lists of packages are empty, private ones are fetched for the time;
    so they are for another `release` of Debian than the system's own, of which everything is taken but the C library.

    Raises:
        PlaceLost: there is no apt, no network, or no such package.
    """
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise PlaceLost(f"{' '.join(packages)} cannot be fetched without apt; install what your system has of that.")
    with tempfile.TemporaryDirectory(prefix="edgekd-apt-") as scratch:
        options = [] if not release and _missing(packages, []) is not None else _private(Path(scratch), release)
        missing = _missing(packages, options)
        if missing is None:
            raise PlaceLost(f"apt knows no {' or no '.join(packages)}; add the package source that has it.")
        downloads = Path(scratch, "downloads")
        downloads.mkdir()
        names = sorted({*packages, *missing} - (_C_LIBRARY if release else set()))
        _run(["apt-get", *options, "download", *names], f"apt-get download {' '.join(packages)}", folder=downloads)
        files = sorted(downloads.glob("*.deb"))
        for file in files:
            _run(["dpkg-deb", "--extract", str(file), str(folder)], f"dpkg-deb --extract {file.name}")
        return _origin(f"Debian{f' {release}' if release else ''} packages, unpacked", files)


def fetch_wheel(requirement: str, downloads: Path, *, platforms: Sequence[str] = (), python: str = "") -> Path | None:
    """Download one wheel without its dependencies; pip checks its hash. None where there is none that fits.

    Raises:
        PlaceLost: there is no pip or no network.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(downloads), *(["--python-version", python] if python else [])]
    command += [word for platform in platforms for word in ("--platform", platform)]
    done = run_client([*command, requirement])
    if done.returncode == 0:
        return next(downloads.glob("*.whl"))
    if "No matching distribution" in done.stderr and "connection" not in done.stderr.lower():
        return None
    raise PlaceLost(f"pip download {requirement} fails: {_last_line(done.stderr)}; check the network and try again.")


def wheel_origin(made: str, wheel: Path) -> Origin:
    """The origin of a part that was made from one wheel."""
    return _origin(made, [wheel])


def unpack_wheel(wheel: Path, names: Sequence[str], folder: Path) -> None:
    """Write the named members of a wheel into `folder`, without the folders they lie in."""
    with zipfile.ZipFile(wheel) as archive:
        for name in names:
            with archive.open(name) as source, (folder / Path(name).name).open("wb") as target:
                shutil.copyfileobj(source, target)


def _origin(made: str, files: Sequence[Path]) -> Origin:
    return Origin(
        made=made,
        fetched={file.name: file_sha256(file) for file in files},
        bytes_fetched=sum(file.stat().st_size for file in files),
    )


def _missing(packages: Sequence[str], options: Sequence[str]) -> list[str] | None:
    """What apt would install for these packages; None where it does not know them."""
    done = run_client(["apt-get", *options, "install", "--simulate", "--no-install-recommends", *packages])
    lines = [line.split() for line in done.stdout.splitlines()]
    return [words[1] for words in lines if words[:1] == ["Inst"]] if done.returncode == 0 else None


def _private(folder: Path, release: str) -> list[str]:
    """Fetch lists of packages into `folder`; return apt's options to use them, and no package counts as installed
    where they are another release's."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    state = {"Dir::State::Lists": folder / "lists", "Dir::Cache": folder / "cache", "Debug::NoLocking": 1}
    if release:
        sources = folder / "sources.list"
        sources.write_text(f"deb [signed-by={_KEYRING}] {_mirror()} {release} main\n", encoding="utf-8")
        state |= {
            "Dir::Etc::SourceList": sources,
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::status": "/dev/null",
        }
    options = [word for key, value in state.items() for word in ("-o", f"{key}={value}")]
    _run(["apt-get", *options, "update"], "apt-get update")
    return options


def _mirror() -> str:
    """Where this system takes its packages from: not its updates, which other releases have elsewhere."""
    told = run_client(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"])
    sources = [line.split() for line in told.stdout.splitlines()]
    mirrors = [words[0] for words in sources if len(words) == 2 and words[1].isalnum()]
    if not mirrors:
        raise PlaceLost("apt is set up with no package source; add one, or install qemu-user with plugins.")
    return mirrors[0]


def _run(command: list[str], name: str, *, folder: Path | None = None) -> None:
    done = run_client(command, folder=folder)
    if done.returncode:
        raise PlaceLost(f"{name} fails: {_last_line(done.stderr)}; check the network and try again.")


def _last_line(text: str) -> str:
    """The line that says most: what went wrong with the connection, else the last error, else the last line."""
    lines = [line for line in text.splitlines() if line.strip()]
    connection = [line for line in lines if "connection" in line.lower()][:1]
    errors = [line for line in lines if line.startswith(("E: ", "ERROR: "))]
    return in_one_line((connection or errors or lines or ["no message"])[-1])
