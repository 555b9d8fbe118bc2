"""The wheel, installed into an empty environment without extras: the light commands work with torch absent."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of programs of an environment that holds the built wheel and its dependencies, and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(build, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    venv.create(folder / "env", with_pip=True)
    programs = folder / "env" / "bin"
    [wheel] = folder.glob("*.whl")
    install = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return programs


def call(programs: Path, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(programs / "edgekd"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False, timeout=300)


def test_the_light_commands_work_without_torch(installed: Path, finished_run: Path, tmp_path: Path) -> None:
    absent = subprocess.run([str(installed / "python"), "-c", "import torch"], capture_output=True, check=False)
    assert absent.returncode != 0
    model = finished_run / "artifact" / "model.onnx"
    assert "raspberry-pi-4" in call(installed, "devices", cwd=tmp_path).stdout
    predicted = json.loads(call(installed, "predict", model, "--target", "all", "--json", cwd=tmp_path).stdout)
    assert all(p["latency_ms"]["word"] == "estimated" for p in predicted["predictions"] if not p["error"])
    benched = json.loads(call(installed, "bench", model, "--seconds", 0.2, "--json", cwd=tmp_path).stdout)
    assert benched["latency"]["p50_ms"]["word"] == "measured"
    inspected = json.loads(call(installed, "inspect", model, "--json", cwd=tmp_path).stdout)
    assert inspected["file"]["kind"] == "onnx"
    for arguments in (
        ("report", finished_run),
        ("gate", finished_run),
        ("verify", finished_run / "artifact"),
        ("doctor",),
    ):
        done = call(installed, *arguments, cwd=tmp_path)
        assert done.returncode == 0, (arguments, done.stderr)


def test_the_page_ships_and_its_runtime_is_fetched_only_when_asked_for(
    installed: Path, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from edgekd.browser.trial import _page_files; print(*_page_files())"
    shipped = subprocess.run([str(installed / "python"), "-c", code], capture_output=True, text=True, cwd=tmp_path)
    page = {f"samples/browser/{name}" for name in ("index.html", "style.css", "page.js", "check.js")}
    assert page <= set(shipped.stdout.split())
    code = "from edgekd.artifact.samples.programs import TEMPLATES; print(*(p.name for p in TEMPLATES.rglob('*')))"
    shipped = subprocess.run([str(installed / "python"), "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert {"README.md.j2", "predict.cpp.j2", "onnxruntime_cxx_api.h"} <= set(shipped.stdout.split())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    done = call(installed, "try", finished_run, "--no-open", cwd=tmp_path)
    assert done.returncode == 4 and "--install" in done.stderr


def test_recipes_ship_and_compressing_says_what_to_install(installed: Path, finished_run: Path, tmp_path: Path) -> None:
    model = finished_run / "artifact" / "model.onnx"
    planned = call(installed, "compress", model, "--recipe", "no-data", "--dry-run", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert "student: none" in planned.stdout
    done = call(installed, "compress", model, "--student", "none", cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install 'edgekd[compress]'" in done.stderr
