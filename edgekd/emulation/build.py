"""The small programs of the kit, compiled from source: two for AArch64, and the plugin for this host."""

import importlib.resources
import os
import platform
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgekd.emulation.fetch import fetch_wheel, wheel_origin
from edgekd.emulation.instructions import KINDS, patterns_in_c
from edgekd.emulation.part import Origin
from edgekd.errors import EdgekdError, PlaceLost
from edgekd.runtimes import in_one_line
from edgekd.system_programs import run_quietly

ZIG = "ziglang==0.17.1"
"""Fetched where there is no compiler for AArch64 or none for this host: a C compiler for all targets, in a wheel."""
BENCHMARK = "benchmark"
_TOOLS = ("runner.c", "runtime.h", "count.c")
_BENCHMARK = ("benchmark.c", "result.h", "machine.h", "runtime.h")
_CROSS = "aarch64-linux-gnu-gcc"
_OLDEST_GLIBC = "2.28"
"""What the runner asks for at least; the wheels of the runtime ask for as much."""


def tools_made_from(plugin_api: int) -> dict[str, Any]:
    """Everything that decides what the tools are."""
    sources = _read(_TOOLS)
    return {"sources": sources, "patterns": patterns_in_c(), "plugin_api": plugin_api, "host": platform.machine()}


def build_tools(folder: Path, plugin_api: int) -> Origin:
    """Compile `runner` and `count.so` into `folder`, for QEMU's plugin API of that version.

    Compilers are the system's, else zig's, which is fetched for the time of the build.

    Raises:
        PlaceLost: no compiler is there, and none can be fetched.
        EdgekdError: a compiler refuses.
    """
    defined = [f"-DQEMU_API={plugin_api}", f"-DPATTERNS={patterns_in_c()}", f"-DCLASSES={len(KINDS)}"]
    runner = ["-O2", "-rdynamic", "-s", "-o", str(folder / "runner"), "runner.c", "-ldl"]
    plugin = ["-O2", "-fPIC", "-shared", *defined, "-o", str(folder / "count.so"), "count.c"]
    with _sources(_TOOLS) as scratch:
        cross, host, origin = _compilers(scratch, for_host=True)
        _compile(cross, runner, scratch)
        _compile(host, plugin, scratch)
    return origin


def benchmark_made_from() -> dict[str, Any]:
    """Everything that decides what the benchmark program is."""
    return {"sources": _read(_BENCHMARK)}


def build_benchmark(folder: Path) -> Origin:
    """Compile `benchmark` for AArch64 into `folder`. Raises what `build_tools` does."""
    with _sources(_BENCHMARK) as scratch:
        cross, _, origin = _compilers(scratch, for_host=False)
        _compile(cross, ["-O2", "-s", "-o", str(folder / BENCHMARK), "benchmark.c", "-ldl"], scratch)
    return origin


@contextmanager
def _sources(names: Sequence[str]) -> Iterator[Path]:
    """A folder with these sources, for the time of a build."""
    with tempfile.TemporaryDirectory(prefix="edgekd-build-") as scratch:
        for name, text in _read(names).items():
            Path(scratch, name).write_text(text, encoding="utf-8")
        yield Path(scratch)


def _compilers(scratch: Path, *, for_host: bool) -> tuple[list[str], list[str], Origin]:
    """The words of a compiler for AArch64 and of one for this host, and where they are from."""
    cross, host = shutil.which(_CROSS), shutil.which("cc")
    if cross and (host or not for_host):
        return [cross], [host or ""], Origin(made=f"compiled by {_CROSS}{' and cc' * for_host}")
    zig, origin = _fetch_zig(scratch)
    return [zig, "cc", "-target", f"aarch64-linux-gnu.{_OLDEST_GLIBC}"], [host] if host else [zig, "cc"], origin


def _fetch_zig(scratch: Path) -> tuple[str, Origin]:
    wheel = fetch_wheel(ZIG, scratch)
    if wheel is None:
        raise PlaceLost(f"There is no {_CROSS}, and no {ZIG} for this machine; install gcc-aarch64-linux-gnu.")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(scratch)
    zig = scratch / "ziglang" / "zig"
    zig.chmod(0o755)
    return str(zig), wheel_origin(f"compiled by {ZIG}, fetched because there is no {_CROSS}", wheel)


def _compile(compiler: Sequence[str], arguments: Sequence[str], scratch: Path) -> None:
    caches = {"ZIG_GLOBAL_CACHE_DIR": f"{scratch}/zig-cache", "ZIG_LOCAL_CACHE_DIR": f"{scratch}/zig-cache"}
    done = run_quietly([*compiler, *arguments], folder=scratch, environment={**os.environ, **caches})
    if done.returncode:
        complaints = [line for line in done.stderr.splitlines() if "error" in line] or [done.stderr]
        raise EdgekdError(
            f"{Path(compiler[0]).name} does not compile the emulation kit: {in_one_line(complaints[0])}; mend or "
            "remove this compiler (libc6-dev-arm64-cross has the headers for AArch64)."
        )


def _read(names: Sequence[str]) -> dict[str, str]:
    folder = importlib.resources.files("edgekd.emulation").joinpath("sources")
    return {name: folder.joinpath(name).read_text(encoding="utf-8") for name in names}
