"""What reaches the terminal: the result alone on stdout, one printable line per message, and the right exit code."""

import errno
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekd.cli.console import make_listener
from edgekd.cli.tables import print_report
from edgekd.device import list_profiles
from edgekd.errors import BadInput
from edgekd.progress import StageNote, Tick
from edgekd.recipe import Recipe
from edgekd.record import Record
from edgekd.results import Report
from edgekd.version import __version__
from edgekd.workspace import open_workspace

HOSTILE = "conv\x1b[31m1\nedgekd: pass\x9b2J\u202etxt"


class Nothing(Record):
    """A stage's result without anything in it."""


def stand_in(monkeypatch: pytest.MonkeyPatch, stage: str, work: Callable[..., object]) -> None:
    """Let `work` stand for the pipeline up to `stage`; what surrounds it is what is tested."""
    import edgekd.pipeline

    monkeypatch.setattr(edgekd.pipeline, f"run_{stage}", work)


@pytest.mark.parametrize("stage", ["compress", "distill"])
def test_stdout_is_the_result_alone(
    call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, report: Report, onnx_model: Path
) -> None:
    def chatty(plan: Recipe, **_how: object) -> tuple[Path, object]:
        print("Files already downloaded and verified")
        return tmp_path / "run", report

    stand_in(monkeypatch, stage, chatty)
    code, out, err = call(stage, onnx_model.name, "--json")
    assert json.loads(out)["schema"] == 1
    assert code == report.exit_code
    assert "Files already downloaded" in err


@pytest.mark.slow
def test_a_run_says_that_it_starts_and_where_before_it_imports_torch(tmp_path: Path, onnx_model: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['edgekd.pipeline'] = None\n"  # importing it fails, and with it every import of torch
        "from edgekd.cli.main import main\n"
        "main(['compress', 'm.onnx', '--target', 'pi4'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    lines = [line.strip() for line in done.stderr.splitlines()]
    assert lines[0] == f"edgekd {__version__}: m.onnx for pi4"
    assert lines[1].startswith("run folder runs/m-raspberry-pi-4-")
    assert "edgekd.pipeline" in lines[2]


def test_the_demo_keeps_stdout_clean_too(call, monkeypatch: pytest.MonkeyPatch, report: Report) -> None:
    import edgekd.demo

    def chatty(folder: Path) -> tuple[Path, Path]:
        print("training a teacher")
        return folder / "teacher.pt2", folder / "digits.npz"

    monkeypatch.setattr(edgekd.demo, "make_demo_inputs", chatty)
    stand_in(monkeypatch, "compress", lambda _plan, **how: (how["out"], report))
    _, out, err = call("demo", "--out", "d", "--json")
    assert json.loads(out)["schema"] == 1
    assert "training a teacher" in err
    assert "edgekd compress d-inputs/teacher.pt2" in err


@pytest.mark.parametrize("out", [".", "..", "/", "a/.."])
def test_the_demo_needs_a_folder_with_a_name(call, out: str) -> None:
    code, printed, err = call("demo", "--out", out)
    assert (code, printed, err.count("\n")) == (2, "", 1)
    assert "name a folder" in err


def test_messages_hold_no_control_characters_and_no_second_line(call, monkeypatch: pytest.MonkeyPatch) -> None:
    import edgekd.api

    def refuse(*_args: object, **_options: object) -> None:
        raise BadInput(f"The node {HOSTILE} is unknown" + "; really" * 100)

    monkeypatch.setattr(edgekd.api, "devices", refuse)
    code, _, err = call("devices")
    assert (code, err.count("\n")) == (3, 1)
    assert all(c.isprintable() for c in err[:-1])
    assert err.count("; really") == 100


def test_progress_and_log_lines_hold_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    listen = make_listener(quiet=False, verbose=False)
    listen(StageNote("load", HOSTILE, "start"))
    listen(Tick(HOSTILE, 1, 1, HOSTILE))
    logging.getLogger("edgekd.formats").info("found %s", HOSTILE)
    lines = capsys.readouterr().err.split("\n")
    assert len(lines) == 4
    assert all(c.isprintable() for line in lines for c in line)
    assert lines[0].startswith("[1/9] load")
    assert lines[2].startswith("      found conv")


@pytest.mark.parametrize(("quiet", "seen"), [(True, ["careful"]), (False, ["found it", "careful"])])
def test_the_log_of_a_stage_is_whole_whatever_the_console_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], quiet: bool, seen: list[str]
) -> None:
    listen = make_listener(quiet=quiet, verbose=False)
    with open_workspace(tmp_path / "run") as workspace:
        done = workspace.stage("load", 1, Nothing, lambda _folder: talk())
    assert [line.strip() for line in capsys.readouterr().err.splitlines()] == seen
    kept = (done.folder / "log.txt").read_text()
    assert "found it" in kept and "careful" in kept and "detail" not in kept
    assert callable(listen)


def talk() -> Nothing:
    log = logging.getLogger("edgekd.stages.load")
    log.debug("detail")
    log.info("found it")
    log.warning("careful")
    return Nothing()


class OutOfMemoryError(RuntimeError):
    """Named as torch names it."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
        RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc"),
        RuntimeError("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 1125"),
        OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        OutOfMemoryError("HIP says no"),
    ],
)
def test_memory_that_ran_out_is_said_so(call, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    import edgekd.api

    monkeypatch.setattr(edgekd.api, "devices", lambda: (_ for _ in ()).throw(error))
    code, _, err = call("devices")
    assert (code, err.count("\n")) == (3, 1)
    assert err.startswith("edgekd: the memory ran out")


def test_really_too_much_memory_is_said_so(call, monkeypatch: pytest.MonkeyPatch) -> None:
    import edgekd.api

    torch = pytest.importorskip("torch")
    monkeypatch.setattr(edgekd.api, "devices", lambda: torch.empty(1 << 50))
    assert "the memory ran out" in call("devices")[2]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EACCES, "Permission denied"),
        (errno.EROFS, "Read-only file system"),
        (errno.ENOENT, "No such file"),
    ],
)
def test_files_that_fail_are_one_sentence(call, monkeypatch: pytest.MonkeyPatch, number: int, words: str) -> None:
    import edgekd.api

    def fail() -> None:
        raise OSError(number, os.strerror(number), "some/recipe.yaml")

    monkeypatch.setattr(edgekd.api, "devices", fail)
    code, _, err = call("devices")
    assert (code, err.count("\n")) == (3, 1)
    assert words in err and "some/recipe.yaml" in err
    assert "unexpected" not in err


def test_a_report_is_rendered_anew_where_it_belongs(call, tmp_path: Path, run_folder: Path) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "results.json").write_bytes((run_folder / "report" / "results.json").read_bytes())
    code, out, _ = call("report", "run/report/results.json")
    assert code == 0
    assert "run/report/report.html" in out
    assert (tmp_path / "run" / "report" / "report.html").is_file()
    code, out, err = call("report", "some/results.json")
    assert (code, out) == (2, "")
    assert "some/results.json" in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "some"]


def test_the_gate_adds_its_summary_to_the_one_github_shows(
    call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_folder: Path
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("# An earlier step\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    code, out, _ = call("gate", run_folder.name, "--json")
    assert code == json.loads(out)["exit_code"]
    text = summary.read_text()
    assert text.startswith("# An earlier step\n")
    assert "## Inconclusive: run on raspberry-pi-4" in text
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "nowhere" / "summary.md"))
    code, out, err = call("gate", run_folder.name, "--json")
    assert (code, err.count("\n")) == (3, 1)
    assert "GITHUB_STEP_SUMMARY" in err


def test_names_of_devices_are_whole_on_a_narrow_terminal(
    call, monkeypatch: pytest.MonkeyPatch, onnx_model: Path
) -> None:
    names = [profile.name for profile in list_profiles()]
    monkeypatch.setenv("COLUMNS", "80")
    listed, predicted = call("devices")[1], call("predict", onnx_model.name)[1]
    for name in names:
        assert re.search(rf"^{name} ", listed, re.MULTILINE) and re.search(rf"^{name} ", predicted, re.MULTILINE)
    assert max(map(len, listed.splitlines()[:-1])) <= 80
    assert re.search(r"^raspberry-pi-4 .* pi4, ", listed, re.MULTILINE)


def test_levels_words_and_threads_stand_once_beside_their_figures(call, onnx_model: Path) -> None:
    predicted = call("predict", onnx_model.name)[1]
    assert "threads" in predicted
    assert predicted.count("estimated") == 1 and predicted.count("90 % intervals") == 1
    timed = call("bench", onnx_model.name, "--seconds", 0, "--min-runs", 2, "--threads", 2)[1]
    assert "measured on host with 2 threads" in timed and "90 % intervals" in timed


def test_the_end_of_a_run_says_words_places_and_levels_once(capsys: pytest.CaptureFixture[str], report: Report) -> None:
    print_report(report, Path("run"))
    out = " ".join(capsys.readouterr().out.split())
    assert "Latency p50 and peak memory estimated for raspberry-pi-4. Brackets hold 90 %" in out
    assert "Score measured on host." in out


def test_one_budget_is_one_budget(call, run_folder: Path) -> None:
    said = call("gate", run_folder.name, "--allow-estimate")[1].splitlines()[-1]
    assert said == "pass: 3 budgets, of which 1 only warns; on raspberry-pi-4"
    results = run_folder / "report" / "results.json"
    found = json.loads(results.read_text())
    results.write_text(json.dumps(found | {"budgets": found["budgets"][:1]}))
    said = call("gate", run_folder.name, "--allow-estimate")[1].splitlines()[-1]
    assert said == "pass: 1 budget; on raspberry-pi-4"


def test_a_bench_may_take_as_long_as_it_is_told_to(call, monkeypatch: pytest.MonkeyPatch, onnx_model: Path) -> None:
    asked: dict[str, float] = {}

    def stop(_path: Path, **how: float) -> None:
        asked.update(how)
        raise BadInput("enough")

    monkeypatch.setattr("edgekd.places.bench_file.bench_file", stop)
    call("bench", onnx_model.name, "--seconds", 60)
    assert (asked["min_seconds"], asked["max_seconds"]) == (60.0, 60.0)
    call("bench", onnx_model.name)
    assert (asked["min_seconds"], asked["max_seconds"]) == (2.0, 30.0)


def test_two_runs_and_many_have_a_page_and_one_json_object(call, tmp_path: Path, run_folder: Path) -> None:
    code, out, _ = call("report", "run", "run")
    assert code == 0 and "run/report/between_runs.html" in out and "same" in out
    code, out, _ = call("report", "run", "run", "--json", "--out", "here")
    assert (
        json.loads(out)["before"]["target"]
        == json.loads((tmp_path / "here" / "between_runs.json").read_text())["before"]["target"]
    )
    code, out, _ = call("report", "--history", ".")
    assert code == 0 and "history.html" in out and "here/between_runs.json" not in out
    code, out, _ = call("report", "--history", ".", "--json")
    assert [entry["run"] for entry in json.loads(out)["entries"]] == ["run/report/results.json"]


def test_a_table_whose_words_the_terminal_would_cut_becomes_a_list(
    call, monkeypatch: pytest.MonkeyPatch, run_folder: Path
) -> None:
    def header() -> bool:
        return any({"Finished", "Verdict", "File"} <= set(line.split()) for line in shown().splitlines())

    def shown() -> str:
        return str(call("report", "--history", ".")[1])

    assert header()
    monkeypatch.setenv("COLUMNS", "80")
    assert not header() and re.search(r"^File +run/report/results.json *$", shown(), re.M)


@pytest.mark.parametrize("given", [(), ("run", "--history", "."), ("run", "--out", "x")])
def test_what_a_report_is_of_must_be_clear(call, run_folder: Path, given: tuple[str, ...]) -> None:
    code, out, err = call("report", *given)
    assert (code, out) == (2, "") and err.count("\n") == 1
