"""What action.yml and the examples for GitHub and GitLab tell a runner to do, done here step by step.

Each runs in an environment that holds nothing but the light core of this checkout.
"""

import os
import re
import runpy
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from lxml import etree

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
INSTALL, JUDGE = ACTION["runs"]["steps"]
WORKFLOW = yaml.safe_load((ROOT / "docs" / "github-ci.yml").read_text())
GITLAB = yaml.safe_load((ROOT / "docs" / "gitlab-ci.yml").read_text())["gate"]
SCHEMA = etree.XMLSchema(file=str(ROOT / "tests" / "rendering" / "junit-10.xsd"))
EXPRESSION = re.compile(r"\$\{\{\s*inputs\.([a-z-]+)\s*\}\}")
sample = runpy.run_path(str(ROOT / "tests" / "rendering" / "sample_report.py"))


def clean_environment(*first: Path, **more: str) -> dict[str, str]:
    """What a fresh runner has: a PATH that begins with `first`, and no variable that leads Python to this checkout."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "GITHUB_", "VIRTUAL_ENV"))}
    paths = (*map(str, first), str(Path(sys.executable).parent), kept["PATH"])
    return {**kept, "PATH": os.pathsep.join(paths), **more}


def do(step: Mapping[str, Any], inputs: Mapping[str, str], cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a step of the action as GitHub does: inputs put into its environment, its script run by bash from a file."""
    given = {name: str(spec.get("default", "")) for name, spec in ACTION["inputs"].items()} | dict(inputs)
    env = {key: EXPRESSION.sub(lambda found: given[found[1]], value) for key, value in step.get("env", {}).items()}
    script = cwd / "step.sh"
    script.write_text(step["run"])
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
    return subprocess.run(
        command, cwd=cwd, env=clean_environment(**env, **more), capture_output=True, text=True, check=False, timeout=600
    )


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Temporary folder of a runner on which the action's first step was done."""
    folder = tmp_path_factory.mktemp("runner")
    done = do(INSTALL, {}, folder, RUNNER_TEMP=str(folder), GITHUB_ACTION_PATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A repository that holds runs/model, measured on its target and within its budgets."""
    write_run(tmp_path, {"word": "measured", "place": "ssh://pi@pi4"})
    return tmp_path


def write_run(workspace: Path, p95: dict[str, Any]) -> None:
    report = sample["sample_report"]()
    shipped = report.models["shipped"]
    latency = shipped.latency_p95_ms.model_copy(update=p95)
    models = report.models | {"shipped": shipped.model_copy(update={"latency_p95_ms": latency})}
    file = workspace / "runs" / "model" / "report" / "results.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(report.model_copy(update={"models": models}).model_dump_json(by_alias=True))


def judge(runner: Path, workspace: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Do the action's second step on GitHub; keywords are inputs, with `_` for `-`."""
    given = {"run": "runs/model", **{name.replace("_", "-"): value for name, value in inputs.items()}}
    summary = str(workspace / "summary.md")
    return do(JUDGE, given, workspace, RUNNER_TEMP=str(runner), GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=summary)


def test_no_input_is_ever_text_of_a_script() -> None:
    steps = ACTION["runs"]["steps"]
    assert not any("${{" in step["run"] for step in steps)
    used = [EXPRESSION.fullmatch(value) for step in steps for value in step["env"].values()]
    assert {found[1] for found in used if found} == set(ACTION["inputs"]) and all(used)


def test_the_action_installs_the_light_core_only(runner: Path) -> None:
    python = str(runner / "edgekd" / "bin" / "python")
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    )
    names = {line.partition("==")[0].partition(" ")[0].lower() for line in listed.stdout.splitlines()}
    assert "onnxruntime" in names and "edgekd" in names
    assert names.isdisjoint({"torch", "torchvision", "timm", "scikit-learn", "pillow", "openvino", "nncf"})
    absent = subprocess.run([python, "-c", "import torch"], capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" in absent.stderr


def test_the_workflow_gives_the_action_inputs_that_it_has_and_they_do(runner: Path, workspace: Path) -> None:
    steps = WORKFLOW["jobs"]["gate"]["steps"]
    [step] = [s for s in steps if "/edgekd@" in s["uses"]]
    assert set(step["with"]) <= set(ACTION["inputs"])
    [main] = [s["with"]["path"] for s in steps if "checkout" in s["uses"] and "with" in s]
    write_run(workspace / main, {"word": "measured", "place": "ssh://pi@pi4"})
    done = judge(runner, workspace, **step["with"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("at most") == 4  # the run's own latency, and size that only warns, beside those given
    summary = (workspace / "summary.md").read_text()
    assert summary.startswith("## Pass: runs/model on raspberry-pi-4")
    assert "### Against main/runs/model" in summary and "| File size | 261 KiB measured | 261 KiB measured |" in summary
    SCHEMA.assertValid(etree.parse(workspace / step["with"]["junit"]))
    upload = next(s for s in steps if "upload-artifact" in s["uses"])
    assert upload["with"]["path"] == step["with"]["junit"] and upload["if"] == "always()"


def test_a_missed_budget_fails_the_job_and_is_annotated(runner: Path, workspace: Path) -> None:
    done = judge(runner, workspace, budgets="size=1KiB\n\n  drop=1%  \n")
    assert done.returncode == 1
    assert "::error title=File size on raspberry-pi-4%3A missed::File size at most 1 KiB: 261 KiB" in done.stderr
    assert "::" not in done.stdout.replace("ssh://", "")
    assert "| File size | at most 1 KiB | 261 KiB measured | Missed |" in (workspace / "summary.md").read_text()


def test_limits_that_only_warn_and_a_baseline(runner: Path, workspace: Path) -> None:
    done = judge(runner, workspace, warn="size=1KiB", baseline="runs/model/report/results.json", junit="a b/gate.xml")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("::warning title=File size on raspberry-pi-4%3A missed::")
    assert "### Against runs/model/report/results.json" in (workspace / "summary.md").read_text()
    SCHEMA.assertValid(etree.parse(workspace / "a b" / "gate.xml"))


def test_what_cannot_be_decided_fails_or_passes_as_told(runner: Path, workspace: Path) -> None:
    write_run(workspace, {})
    assert judge(runner, workspace).returncode == 5
    told = judge(runner, workspace, inconclusive="pass")
    assert (told.returncode, told.stderr.count("::error")) == (0, 1)
    assert judge(runner, workspace, options="--allow-estimate").returncode == 0
    assert judge(runner, workspace, inconclusive="pass", budgets="size=1KiB").returncode == 1


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({"options": "--no-such-option"}, 2),
        ({"options": "--allow-estimate --no-timing"}, 2),  # one argument to a line
        ({"inconclusive": "maybe"}, 2),
        ({"budgets": "latency=30"}, 2),
        ({"run": "nowhere"}, 3),
        ({"run": "--help"}, 3),
        ({"run": "$(touch pwned)`touch pwned`"}, 3),
        ({"run": '"; touch pwned; "'}, 3),
        ({"budgets": "size=1MiB; touch pwned"}, 2),
        ({"budgets": "--help"}, 2),
        ({"junit": "$(touch pwned)/gate.xml"}, 0),
    ],
)
def test_inputs_are_values_and_never_options_or_commands(
    runner: Path, workspace: Path, inputs: dict[str, str], code: int
) -> None:
    done = judge(runner, workspace, **inputs)
    assert done.returncode == code, done.stderr
    assert code != 3 or done.stderr.startswith("::error title=edgekd::")
    assert not list(workspace.rglob("pwned"))
    assert "Usage" not in done.stdout


@pytest.fixture(scope="module")
def gitlab(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Programs of an empty environment, and variables with which pip takes edgekd from the wheel of this checkout."""
    folder = tmp_path_factory.mktemp("gitlab")
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(build, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    [wheel] = folder.glob("*.whl")
    (folder / "constraints.txt").write_text(f"edgekd @ {wheel.as_uri()}\n")
    venv.create(folder / "env", with_pip=True)
    return folder / "env" / "bin", {"PIP_CONSTRAINT": str(folder / "constraints.txt")}


def run_gitlab(gitlab: tuple[Path, dict[str, str]], workspace: Path) -> subprocess.CompletedProcess[str]:
    """Run the job's script as GitLab's runner does: line by line in one shell, whichever the image has, until one
    fails."""
    programs, variables = gitlab
    environment = clean_environment(programs, **GITLAB["variables"], **variables)
    script = "\n".join(GITLAB["script"])
    return subprocess.run(
        ["sh", "-ec", script], cwd=workspace, env=environment, capture_output=True, text=True, check=False, timeout=600
    )


def test_the_gitlab_job_passes_fails_and_warns(gitlab: tuple[Path, dict[str, str]], workspace: Path) -> None:
    passed = run_gitlab(gitlab, workspace)
    assert passed.returncode == 0, passed.stderr
    junit = workspace / GITLAB["artifacts"]["reports"]["junit"]
    SCHEMA.assertValid(etree.parse(junit))
    absent = subprocess.run([str(gitlab[0] / "python"), "-c", "import torch"], capture_output=True, check=False)
    assert absent.returncode != 0
    write_run(workspace, {})
    assert run_gitlab(gitlab, workspace).returncode in GITLAB["allow_failure"]["exit_codes"]
    assert b"<error" in junit.read_bytes() and GITLAB["artifacts"]["when"] == "always"
    write_run(workspace, {"word": "measured", "place": "ssh://pi@pi4", "value": 31.0})
    assert run_gitlab(gitlab, workspace).returncode == 1


def test_pytest_finds_the_fixture_in_the_light_core(gitlab: tuple[Path, dict[str, str]], workspace: Path) -> None:
    programs, variables = gitlab
    environment = clean_environment(programs, **variables)
    install = [str(programs / "python"), "-m", "pip", "install", "--quiet", "edgekd", "pytest"]
    subprocess.run(install, env=environment, capture_output=True, check=True)
    (workspace / "test_model.py").write_text(
        "def test_fits(edgekd_gate):\n    edgekd_gate('runs/model')\n\n\n"
        "def test_fits_not(edgekd_gate):\n    edgekd_gate('runs/model', budget=['size=1KiB'])\n"
    )
    command = [str(programs / "python"), "-m", "pytest", "test_model.py"]
    done = subprocess.run(command, cwd=workspace, env=environment, capture_output=True, text=True, check=False)
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "Missed: File size at most 1 KiB: 261 KiB measured" in done.stdout
