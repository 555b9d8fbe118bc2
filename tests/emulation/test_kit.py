"""The kit in the cache: whole or not there, made again where it changed, and in one sentence what is missing."""

import json
from pathlib import Path

import pytest

from edgekd.emulation import fetch
from edgekd.emulation.board import board_parts, find_board_files, install_board_files
from edgekd.emulation.count import count
from edgekd.emulation.kit import find_kit, install_kit, kit_parts
from edgekd.emulation.libraries import NEEDED
from edgekd.emulation.part import Origin, find_part, kit_folder, make_part
from edgekd.emulation.qemu import Qemu, fetch_qemu, find_qemu
from edgekd.emulation.runtime_library import fetch_library
from edgekd.errors import EdgekdError, PlaceLost, UsageError


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with nothing in it, on a machine without QEMU, apt or compilers."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("edgekd.emulation.libraries._SYSTEM", tmp_path / "usr/aarch64-linux-gnu/lib")
    return tmp_path / "cache"


def make(text: str):
    def write(folder: Path) -> Origin:
        (folder / "inside").mkdir()
        (folder / "inside" / "file").write_text(text)
        return Origin(made="written")

    return write


def script(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


def test_a_part_is_made_once_and_again_when_a_byte_changed(empty_cache: Path) -> None:
    folder, facts = make_part("part", 1, make("first"))
    assert folder == empty_cache / "edgekd" / "emulation" / "part" and list(facts.files) == ["inside/file"]
    assert make_part("part", 1, make("second"))[0].joinpath("inside/file").read_text() == "first"
    (folder / "inside" / "file").write_text("fIrst")
    assert find_part("part", 1) is None
    assert make_part("part", 1, make("second"))[0].joinpath("inside/file").read_text() == "second"
    assert find_part("part", 2) is None and find_part("part", 1) is not None


def test_what_fails_half_way_leaves_nothing_behind(empty_cache: Path) -> None:
    def fail(folder: Path) -> Origin:
        (folder / "file").write_text("half")
        raise PlaceLost("the network is gone")

    with pytest.raises(PlaceLost, match="gone"):
        make_part("part", 1, fail)
    assert [path.name for path in kit_folder().iterdir()] == ["lock"]


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(EdgekdError, match=r"emulation kit cannot be written to .*set XDG_CACHE_HOME"):
        make_part("part", 1, make("text"))


def test_without_anything_the_sentence_says_what_is_missing_and_how_to_fetch_it(empty_cache: Path) -> None:
    with pytest.raises(PlaceLost) as lost:
        find_kit("cortex-a76", "1.31.1")
    text = str(lost.value)
    assert "\n" not in text and "qemu-aarch64" in text and "ONNX Runtime 1.31.1" in text
    assert text.endswith("edgekd doctor --on emulate:cortex-a76@1.31.1 --install")
    assert not any(part.found for part in kit_parts("1.31.1"))
    with pytest.raises(PlaceLost, match="without apt"):
        install_kit("cortex-a76", "1.31.1")


def test_a_board_needs_all_parts_and_neither_qemu_nor_the_plugin(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_board_files("1.31.1") is None and not any(part.found for part in board_parts("1.31.1"))
    for name in NEEDED:
        script(tmp_path / "usr/aarch64-linux-gnu/lib" / name)
    library = tmp_path / "libonnxruntime.so"
    library.write_text("code")
    monkeypatch.setattr("edgekd.emulation.board.find_library", lambda version: library)
    monkeypatch.setattr("edgekd.emulation.board.fetch_library", lambda version: library)
    assert find_board_files("1.31.1") is None
    script(tmp_path / "aarch64-linux-gnu-gcc", 'while [ "$1" != -o ]; do shift; done; : > "$2"')
    install_board_files("1.31.1")
    files = find_board_files("1.31.1")
    assert files is not None and all(part.found for part in board_parts("1.31.1")) and find_qemu() is None
    assert {path.name for path in files.iterdir()} == {*NEEDED, "benchmark", "libonnxruntime.so"}
    assert (files / "libonnxruntime.so").read_text() == "code"
    (files / "benchmark").write_text("changed")
    assert find_board_files("1.31.1") is None


@pytest.mark.parametrize("version", ["1.31", "latest", "1.31.1 --index-url x"])
def test_what_is_no_version_is_never_handed_to_pip(version: str) -> None:
    with pytest.raises(UsageError, match="no version"):
        install_kit("cortex-a76", version)


def test_qemu_says_which_plugin_interface_it_has() -> None:
    apis = {
        v: Qemu(Path("q"), v, frozenset()).plugin_api for v in ("6.2.0", "7.2.22", "8.2.2", "9.0.1", "9.1.0", "10.0.2")
    }
    assert apis == {"6.2.0": 1, "7.2.22": 1, "8.2.2": 1, "9.0.1": 2, "9.1.0": 3, "10.0.2": 3}


def test_a_qemu_without_plugins_is_none(empty_cache: Path, tmp_path: Path) -> None:
    script(tmp_path / "qemu-aarch64", "echo qemu-aarch64 version 7.2.0")
    assert find_qemu() is None


def test_a_release_whose_qemu_has_plugins_is_taken_where_the_own_has_none(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch_debian(packages: list[str], folder: Path, *, release: str = "") -> Origin:
        version = "echo qemu-aarch64 version " + ("7.2.0" if release else "10.0.0")
        script(folder / "usr/bin/qemu-aarch64", version, "echo -plugin" if release else "")
        script(folder / "usr/bin/qemu-arm")
        return Origin(made=f"from {release or 'here'}")

    monkeypatch.setattr("edgekd.emulation.qemu.fetch_debian", fetch_debian)
    qemu = fetch_qemu()
    assert qemu.version == "7.2.0" and [path.name for path in qemu.program.parent.iterdir()] == ["qemu-aarch64"]
    assert find_qemu() == qemu


def test_another_release_is_taken_from_where_this_system_takes_its_packages(empty_cache: Path, tmp_path: Path) -> None:
    script(
        tmp_path / "apt-get",
        "echo 'http://mirror.invalid/updates/ stable-updates'",
        "echo 'http://mirror.invalid/ stable'",
    )
    assert fetch._mirror() == "http://mirror.invalid/"
    script(tmp_path / "apt-get", "true")
    with pytest.raises(PlaceLost, match="no package source"):
        fetch._mirror()


@pytest.mark.slow
def test_without_a_network_the_sentence_has_the_clients_own_words(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = "echo \"E: Could not resolve 'deb.example'\" >&2; exit 100"
    script(tmp_path / "apt-get", refuse)
    script(tmp_path / "dpkg-deb", "exit 0")
    with pytest.raises(
        PlaceLost, match=r"^apt-get update fails: E: Could not resolve 'deb.example'; check the network"
    ):
        install_kit("cortex-a76", "1.31.1")
    monkeypatch.setenv("PIP_RETRIES", "1")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(PlaceLost, match=r"pip download onnxruntime==1\.31\.1 fails: .*onnection.*; check the network"):
        fetch_library("1.31.1")
    assert not list(kit_folder().glob("onnxruntime*"))


@pytest.mark.slow
def test_a_core_that_this_qemu_lacks_is_refused_with_the_nearest(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    qemu = find_qemu()
    assert qemu is not None
    less = Qemu(qemu.program, qemu.version, frozenset({"cortex-a76"}), qemu.libraries)
    monkeypatch.setattr("edgekd.emulation.kit.find_qemu", lambda: less)
    with pytest.raises(PlaceLost, match="does not have the cortex-a55; the nearest that it has is emulate:cortex-a76"):
        find_kit("cortex-a55", version)
    with pytest.raises(PlaceLost, match="does not have the cortex-a53; it has cortex-a76"):
        install_kit("cortex-a53", version)


@pytest.mark.slow
def test_the_emulated_processor_is_the_one_described(version: str) -> None:
    for core, part in (("cortex-a53", "0xd03"), ("cortex-a76", "0xd0b")):
        text = (find_kit(core, version).sysroot / "proc/cpuinfo").read_text()
        assert f"CPU part\t: {part}" in text and ("asimddp" in text) == (core == "cortex-a76")


@pytest.mark.slow
def test_once_installed_nothing_is_fetched(version: str, monkeypatch: pytest.MonkeyPatch, graph_of) -> None:
    import numpy as np
    from onnx import helper

    monkeypatch.setattr(fetch, "run_client", lambda *_, **__: pytest.fail("the network was asked"))
    install_kit("cortex-a76", version)
    path = graph_of([helper.make_node("Add", ["x", "w"], ["y"])], {"w": np.ones(8, np.float32)}, [1, 8])
    assert count(path, core="cortex-a76", version=version).instructions.total > 0


@pytest.mark.slow
def test_parts_say_what_was_fetched(version: str) -> None:
    facts = json.loads((kit_folder() / f"onnxruntime-{version}" / "part.json").read_text())
    [(name, sha)] = facts["origin"]["fetched"].items()
    assert name.endswith("aarch64.whl") and len(sha) == 64 and facts["origin"]["bytes_fetched"] > 10e6
    assert {"LICENSE", "libonnxruntime.so"} <= set(facts["files"])
