"""ONNX Runtime for browsers in the cache: whole and as expected, or not there."""

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekd.browser import runtime
from edgekd.errors import PlaceLost

CONTENT = {"script.mjs": b"export {}", "module.wasm": b"\0asm"}


@pytest.fixture(autouse=True)
def small_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache, and two small files that are looked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(runtime, "FILES", {name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()})


@pytest.fixture
def npm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """`npm(members)`: a program of that name that packs these files; without any it fails."""

    def install(members: dict[str, bytes] | None) -> None:
        archive = tmp_path / "packed.tgz"
        with tarfile.open(archive, "w:gz") as package:
            for name, data in (members or {}).items():
                entry = tarfile.TarInfo(f"package/dist/{name}")
                entry.size = len(data)
                package.addfile(entry, io.BytesIO(data))
        programs = tmp_path / "programs"
        programs.mkdir(exist_ok=True)
        line = f"cp {archive} package.tgz" if members is not None else "echo no network >&2; exit 1"
        (programs / "npm").write_text(f"#!/bin/sh\n{line}\n")
        (programs / "npm").chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    return install


def test_it_is_fetched_once_and_works_without_npm_after(npm: Callable[..., None]) -> None:
    assert runtime.find_web_runtime() is None
    npm({**CONTENT, "another.mjs": b"1"})
    folder = runtime.install_web_runtime()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT
    npm(None)
    assert runtime.install_web_runtime() == runtime.find_web_runtime() == folder


def test_a_changed_or_missing_file_counts_as_not_there(npm: Callable[..., None]) -> None:
    npm(CONTENT)
    folder = runtime.install_web_runtime()
    (folder / "script.mjs").write_bytes(b"export { evil }")
    assert runtime.find_web_runtime() is None
    assert (runtime.install_web_runtime() / "script.mjs").read_bytes() == CONTENT["script.mjs"]
    (folder / "module.wasm").unlink()
    assert runtime.find_web_runtime() is None


@pytest.mark.parametrize("members", [{**CONTENT, "script.mjs": b"other"}, {"script.mjs": CONTENT["script.mjs"]}, {}])
def test_a_package_that_holds_something_else(npm: Callable[..., None], members: dict[str, bytes]) -> None:
    npm(members)
    with pytest.raises(PlaceLost, match=r"came with another (script\.mjs|module\.wasm) than expected; do not trust"):
        runtime.install_web_runtime()
    assert runtime.find_web_runtime() is None


def test_an_archive_that_is_cut_off(npm: Callable[..., None], tmp_path: Path) -> None:
    npm({"script.mjs": bytes(100_000), "module.wasm": os.urandom(100_000)})
    whole = (tmp_path / "packed.tgz").read_bytes()
    for kept in (0, 5, len(whole) // 2):
        (tmp_path / "packed.tgz").write_bytes(whole[:kept])
        with pytest.raises(PlaceLost, match="came broken"):
            runtime.install_web_runtime()


def test_no_network_and_no_npm(npm: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    npm(None)
    with pytest.raises(PlaceLost, match="fails: no network; check the network"):
        runtime.install_web_runtime()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PlaceLost, match=r"fetched by npm, which is not installed"):
        runtime.install_web_runtime()
