"""The public functions take the keywords of the command line."""

import importlib.util
import logging
from pathlib import Path
from typing import Any

import pytest

import edgekd
from edgekd.api import bench, predict, run_folder, verify
from edgekd.errors import BadInput, UsageError
from edgekd.progress import StageNote


@pytest.mark.parametrize("stage", ["compress", "distill", "export", "quantize"])
def test_every_stage_takes_the_same_keywords(monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    pytest.importorskip("torch")
    import edgekd.pipeline

    asked: dict[str, Any] = {}

    def stand_in(plan: object, **how: Any) -> tuple[Path, str]:
        asked.update(how)
        how["listen"](StageNote("load", "", "start"))
        return Path("run"), f"what {stage} found"

    monkeypatch.setattr(edgekd.pipeline, f"run_{stage}", stand_in)
    heard: list[object] = []
    found = getattr(edgekd, stage)("m.pt2", out="run", fresh=True, listen=heard.append, epochs=2)
    assert found == f"what {stage} found"
    assert (asked["out"], asked["fresh"], len(heard)) == (Path("run"), True, 1)
    if stage == "compress":
        assert asked["command"] == "edgekd compress m.pt2 --out run --fresh --epochs 2"


def test_a_run_is_named_by_its_folder_or_its_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("run/report", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "results.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert run_folder("run") == run_folder("run/report/results.json") == Path("run")
    with pytest.raises(UsageError, match="elsewhere/results"):
        run_folder("elsewhere/results.json")
    monkeypatch.chdir(tmp_path / "run" / "report")
    assert run_folder("results.json") == tmp_path / "run"


def test_only_onnx_is_timed_and_predicted_and_the_way_there_is_said(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    program = torch.export.export(torch.nn.Linear(3, 2).eval(), (torch.zeros(1, 3),))
    torch.export.save(program, tmp_path / "m.pt2")
    torch.save({"fc.weight": torch.zeros(2, 3)}, tmp_path / "w.pt")
    said = "m.pt2 is an exported program, not ONNX; export it first: edgekd export .*m.pt2 --student none$"
    for command in (predict, bench):
        with pytest.raises(BadInput, match=said):
            command(tmp_path / "m.pt2")
    with pytest.raises(BadInput, match=r"w.pt is a state dict.* --arch ARCHITECTURE$"):
        predict(tmp_path / "w.pt")


def test_a_run_is_verified_by_its_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path | str] = []
    monkeypatch.setattr("edgekd.verification.verify", asked.append)
    (tmp_path / "run" / "artifact").mkdir(parents=True)
    verify(tmp_path / "run")
    verify(tmp_path / "run" / "artifact")
    assert asked == [tmp_path / "run" / "artifact"] * 2


def test_a_library_says_nothing_unasked() -> None:
    assert edgekd.compress
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("edgekd").handlers)


@pytest.mark.parametrize("name", edgekd.__all__)
def test_no_module_takes_the_place_of_a_public_function(name: str) -> None:
    """Importing `edgekd.NAME` would set the attribute of that name to the module."""
    assert importlib.util.find_spec(f"edgekd.{name}") is None
