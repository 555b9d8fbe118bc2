"""What a path names to the gate: a run, its results.json, an artifact or a bare ONNX file, each with what it knows."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgekd.errors import BadInput
from edgekd.figures import Figures
from edgekd.formats.zip_members import shown
from edgekd.results import Candidate, Report
from edgekd.results_file import RESULTS, first_fault, read_report
from edgekd.workspace import file_sha256

MODEL, MANIFEST = "model.onnx", "manifest.json"
_MOST_BYTES = 2**24
_DEVICE = "[a-z0-9][a-z0-9-]*"


@dataclass(frozen=True)
class Build:
    """One side of a comparison. What is not known of it is None or empty.

    `source` is the SHA-256 of the model that it was made from, `test` that of the test samples that it was scored on,
    `environment` describes the machine that it was measured on.
    """

    name: str
    figures: Figures | None = None
    report: Report | None = None
    model: Path | None = None
    sha256: str | None = None
    target: str | None = None
    source: str | None = None
    test: str | None = None
    score_name: str | None = None
    classes: tuple[str, ...] = ()
    runtime: str = "onnxruntime"
    session: Mapping[str, Any] = field(default_factory=dict)
    operators: Mapping[str, int] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    edgekd: str | None = None


def open_build(path: Path) -> Build:
    """Read what a path names; of a run folder also the artifact that it still holds.

    Raises:
        BadInput: nothing of these is there, its records are broken, or the model file is not the one that they are
            about.
    """
    if not path.exists():
        raise BadInput(f"{path} does not exist; name a run folder, its results.json, an artifact or an ONNX file.")
    if path.is_dir() and not (path / RESULTS).is_file() and (path / MODEL).is_file():
        return _of_artifact(path)
    if path.suffix.lower() == ".onnx":
        return Build(name=str(path), model=path, sha256=file_sha256(path))
    if path.is_file() and path.suffix.lower() != ".json":
        raise BadInput(f"{path} is no results.json and no ONNX file; name one of these, a run folder or an artifact.")
    return _of_run(path)


def _of_run(path: Path) -> Build:
    report = read_report(path)
    shipped, chosen = report.models.get("shipped"), next((c for c in report.candidates if c.chosen), None)
    if shipped is None or chosen is None:
        raise BadInput(f"{path}: 'models.shipped' is null, so nothing was shipped; finish the run with --resume first.")
    model = path / "artifact" / MODEL if path.is_dir() else None
    return Build(
        name=str(path),
        figures=shipped,
        report=report,
        model=_checked(model, report.artifact.get(MODEL)) if model and model.is_file() else None,
        sha256=report.artifact.get(MODEL, chosen.sha256),
        target=_device(path, report.target),
        source=report.model.sha256,
        test=_test_samples(report.splits),
        score_name=report.score_name,
        classes=report.classes,
        runtime=chosen.runtime,
        session=chosen.session,
        operators=chosen.operators,
        environment=report.environment,
        edgekd=report.edgekd,
    )


def _of_artifact(folder: Path) -> Build:
    manifest = _read_manifest(folder / MANIFEST)
    try:
        candidate = Candidate.model_validate(manifest.get("candidate"))
        said = {key: dict(manifest.get(key) or {}) for key in ("model", "data", "files", "versions")}
    except ValidationError as error:
        raise BadInput(f"{folder / MANIFEST}: 'candidate' {first_fault(error)}; fetch the artifact again.") from None
    except (TypeError, ValueError):
        raise BadInput(f"{folder / MANIFEST}: a key is no mapping; fetch the artifact again.") from None
    return Build(
        name=str(folder),
        figures=Figures(**{name: getattr(candidate, name) for name in Figures.model_fields}),
        model=_checked(folder / MODEL, _text(said["files"], MODEL)),
        sha256=_text(said["files"], MODEL),
        target=_device(folder / MANIFEST, _text(manifest, "target")),
        source=_text(said["model"], "sha256"),
        test=_test_samples(said["data"]),
        classes=tuple(str(name) for name in said["data"].get("classes") or ()),
        runtime=candidate.runtime,
        session=candidate.session,
        operators=candidate.operators,
        environment={"versions": said["versions"]},
        edgekd=_text(manifest, "edgekd"),
    )


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES} bytes")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0][:200]
        raise BadInput(f"{path} cannot be read as JSON ({reason}); fetch the artifact again.") from None
    if not isinstance(found, dict):
        raise BadInput(f"{path} holds no mapping; fetch the artifact again.")
    return found


def _checked(model: Path, expected: str | None) -> Path:
    """The model file. Raises BadInput where it is another than its records are about."""
    if expected is None or file_sha256(model) == expected:
        return model
    raise BadInput(f"{model} has changed since it was packaged, so its figures are not its own; fetch it again.")


def _device(where: Path, target: str | None) -> str | None:
    """The device's name. Raises BadInput for what would be looked for as a file."""
    if target is None or re.fullmatch(_DEVICE, target):
        return target
    raise BadInput(f"{where}: 'target' is {shown(target)}, which is no device's name; write the run anew.")


def _test_samples(splits: Mapping[str, Any] | None) -> str | None:
    digests = (splits or {}).get("digests")
    return _text(digests, "test") if isinstance(digests, Mapping) else None


def _text(values: Mapping[str, Any], key: str) -> str | None:
    value = values.get(key)
    return value if isinstance(value, str) else None
