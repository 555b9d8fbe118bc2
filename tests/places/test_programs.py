"""Which program runs benchmarks on a place, on places whose answers are written down."""

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from edgekd.errors import EdgekdError, UsageError
from edgekd.places import look, programs
from edgekd.places.compiled import facts_of
from edgekd.places.place import Finished, Place
from edgekd.places.process import in_python
from edgekd.places.programs import COMPILED, program_for

NO_PYTHON = "board: there is no 'python3' there; install Python"
SAID = """edgekd: file /proc/cpuinfo
processor\t: 0
Features\t: fp asimd asimddp
processor\t: 1

edgekd: file /proc/meminfo
MemTotal:        3906252 kB
MemAvailable:    3000000 kB

edgekd: file /proc/self/status
Cpus_allowed:\t1

edgekd: file /sys/devices/system/cpu/cpu0/topology/core_id
0
edgekd: file architecture
{architecture}

edgekd: file disk
Filesystem 1024-blocks Used Available Capacity Mounted on
/dev/block/dm-5 1000000 1 {left} 1% /data
"""


@pytest.fixture
def place() -> Callable[..., Place]:
    """A place that has what the keywords say."""

    def make(
        *,
        python: str = "python3",
        versions: dict[str, str] | None = None,
        architecture: str = "aarch64",
        left: int = 10**6,
    ) -> Place:
        def facts() -> dict[str, Any]:
            if versions is None:
                raise UsageError(NO_PYTHON)
            return {"python": "3.11.2", "architecture": architecture, "versions": {"numpy": None, **versions}}

        def run(words: Sequence[str], seconds: float) -> Finished:
            return Finished(0, SAID.format(architecture=architecture, left=left).encode())

        return Place("board", (python,), facts, str, run, lambda path: None, lambda path: None, lambda: None)

    return make


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what is sent: 3 MiB."""
    (tmp_path / "benchmark").write_bytes(bytes(3 * 2**20))
    monkeypatch.setattr(programs, "find_board_files", lambda version: tmp_path)
    return tmp_path


def test_a_python_that_has_all_runs_its_program(place, here: Path) -> None:
    found = program_for(place(versions={"onnxruntime": "1.31.1", "numpy": "2.3.0"}), "onnxruntime")
    assert found.send is in_python and found.facts["program"] == "Python 3.11.2"


@pytest.mark.parametrize("versions", [None, {"onnxruntime": None}, {"onnxruntime": "1.31.1"}])
def test_else_the_program_in_c_does_and_it_is_said(place, here: Path, versions, caplog) -> None:
    programs._say.cache_clear()
    found = program_for(place(versions=versions), "onnxruntime")
    assert found.facts["program"] == COMPILED and found.facts["versions"]["onnxruntime"]
    [said] = caplog.messages
    assert said.startswith("board: ") and f"; {COMPILED} with ONNX Runtime" in said and said.endswith("3 MiB")


def test_what_a_board_s_files_say(place) -> None:
    facts = facts_of(place())
    assert (facts["logical_cpus"], facts["usable_cores"], facts["cores"]) == (2, 1, 1)
    assert facts["flags"] == ["asimd", "asimddp"] and facts["cpu"] == facts["architecture"] == "aarch64"
    assert (facts["memory_mib"], facts["memory_free_mib"], facts["disk_free_mib"]) == (3814, 2929, 976)
    assert facts["governor"] is None and facts["kernel"] is None
    json.dumps(facts)


def test_a_python_that_was_named_is_the_one_to_use(place, here: Path) -> None:
    with pytest.raises(UsageError, match=f"^{NO_PYTHON}$"):
        program_for(place(python="/usr/bin/python3"), "onnxruntime")


def test_another_runtime_needs_python(place, here: Path) -> None:
    with pytest.raises(UsageError, match="has no openvino and no numpy; install"):
        program_for(place(versions={"openvino": None}), "openvino")


@pytest.mark.parametrize("architecture", ["x86_64", "armv7l", "arm64", ""])
def test_another_architecture_is_refused_with_the_reason(place, here: Path, architecture: str) -> None:
    with pytest.raises(
        UsageError, match=rf"^{NO_PYTHON}; .* is for aarch64 alone, and this is '{architecture or 'unk'}"
    ):
        program_for(place(architecture=architecture), "onnxruntime")


def test_where_nothing_is_built_both_ways_are_said(place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "find_board_files", lambda version: None)
    with pytest.raises(UsageError, match=rf"^{NO_PYTHON}; or .*: edgekd doctor --on board --install$"):
        program_for(place(), "onnxruntime")


def test_a_disk_without_room_is_refused_before_anything_is_sent(place, here: Path) -> None:
    with pytest.raises(EdgekdError, match="3 MiB must be sent there, and its disk has 2 left"):
        program_for(place(left=3 * 1024 - 1), "onnxruntime")


@pytest.mark.parametrize(("architecture", "compiled"), [("aarch64", True), ("x86_64", False)])
def test_a_look_at_a_python_that_lacks_something(
    place, monkeypatch: pytest.MonkeyPatch, architecture: str, compiled: bool
) -> None:
    monkeypatch.setattr(
        look, "open_place", lambda text: nullcontext(place(versions={"onnxruntime": None}, architecture=architecture))
    )
    monkeypatch.setattr(look, "find_board_files", lambda version: None)
    seen = look.look_at("board")
    assert seen.compiled is compiled and seen.facts["python"] == "3.11.2" and (seen.max_opset, seen.max_ir) == (0, 0)


def test_a_look_where_nothing_can_be_run(place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "open_place", lambda text: nullcontext(place(architecture="armv7l")))
    with pytest.raises(UsageError, match=f"^{NO_PYTHON}; .*this is 'armv7l'"):
        look.look_at("board")
    monkeypatch.setattr(look, "open_place", lambda text: nullcontext(place(python="/opt/python")))
    with pytest.raises(UsageError, match=f"^{NO_PYTHON}$"):
        look.look_at("board")
