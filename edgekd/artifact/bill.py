"""The bill of materials of an artifact, in CycloneDX: the model with its card, what it was made from, and by which
libraries."""

import json
from pathlib import Path
from typing import Any

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6

from edgekd.artifact.contract import Contract, Licence
from edgekd.artifact.identity import hashes
from edgekd.figures import Number
from edgekd.results import Candidate

FILE = "sbom.cdx.json"
MODEL = "model.onnx"
GRAPHS = frozenset({".onnx", ".data", ".ort", ".xml", ".bin"})
"""Endings of the files that hold a model or its weights."""


def write_bill(
    folder: Path, contract: Contract, *, chosen: Candidate, manifest: dict[str, Any], limits: tuple[str, ...]
) -> None:
    """Write CycloneDX 1.6 JSON. Serial number and time are left out, so that the same artifact has the same bill.

    Args:
        manifest: of the source model, the data and the versions of libraries.
        limits: sentences on what the artifact does not prove.
    """
    shipped = _shipped(folder, contract)
    parts = _parts(contract, manifest)
    libraries = [
        Component(name=name, version=str(version), type=ComponentType.LIBRARY, bom_ref=f"library:{name}")
        for name, version in sorted(manifest.get("versions", {}).items())
    ]
    bom = Bom(components=[*parts, *libraries])
    bom.metadata.component = shipped
    bom.register_dependency(shipped, [*parts, *libraries])
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    document.pop("serialNumber", None)
    document["metadata"].pop("timestamp", None)
    document["metadata"]["component"]["modelCard"] = _card(contract, chosen, manifest, limits)
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False)
    (folder / FILE).write_text(f"{text}\n", encoding="utf-8")


def _shipped(folder: Path, contract: Contract) -> Component:
    """model.onnx, and the other graphs inside it."""
    found = {name: sha for name, sha in hashes(folder).items() if "/" not in name and Path(name).suffix in GRAPHS}
    files = {
        name: Component(
            name=name,
            type=ComponentType.MACHINE_LEARNING_MODEL if name == MODEL else ComponentType.FILE,
            hashes=[HashType.from_hashlib_alg("sha256", sha)],
            bom_ref=f"file:{name}",
        )
        for name, sha in found.items()
    }
    shipped = files.pop(MODEL)
    shipped.components.update(files.values())
    _license(shipped, contract.licences.student)
    return shipped


def _parts(contract: Contract, manifest: dict[str, Any]) -> list[Component]:
    """The model that came in, and the data."""
    model, data = manifest.get("model") or {}, manifest.get("data")
    sha = model.get("sha256")
    teacher = Component(
        name=Path(str(model.get("path", "model"))).name,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        hashes=[HashType.from_hashlib_alg("sha256", sha)] if sha and len(sha) == 64 else [],
        bom_ref="teacher",
        description="the model that came in",
    )
    _license(teacher, contract.licences.teacher)
    if data is None:
        return [teacher]
    found = Component(name=str(data.get("kind", "data")), type=ComponentType.DATA, bom_ref="data")
    _license(found, contract.licences.data or Licence())
    return [teacher, found]


def _license(component: Component, licence: Licence) -> None:
    """As SPDX calls it, or as a name where that is none of its: "unknown" among them."""
    component.licenses.add(LicenseFactory().make_from_string(licence.id))


def _card(contract: Contract, chosen: Candidate, manifest: dict[str, Any], limits: tuple[str, ...]) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "task": contract.task,
        "inputs": [{"format": _format(tensor.dtype, tensor.shape, tensor.meaning)} for tensor in contract.inputs],
        "outputs": [{"format": _format(tensor.dtype, tensor.shape, tensor.meaning)} for tensor in contract.outputs],
    }
    if manifest.get("data") is not None:
        parameters["datasets"] = [{"ref": "data"}]
    metrics = [_metric(manifest.get("score_name") or "score", chosen.score)] if chosen.score else []
    metrics += [{"type": name, "value": f"{value:.6g}"} for name, value in sorted(chosen.metrics.items())]
    card: dict[str, Any] = {"modelParameters": parameters}
    if metrics:
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    if limits:
        card["considerations"] = {"technicalLimitations": list(limits)}
    return card


def _format(dtype: str, shape: tuple[int, ...], meaning: str) -> str:
    return f"{dtype} {' x '.join(map(str, shape))}: {meaning}"


def _metric(name: str, score: Number) -> dict[str, Any]:
    found: dict[str, Any] = {"type": name, "value": f"{score.value:.6g}", "slice": f"test, {score.word}"}
    if score.low is not None and score.high is not None:
        found["confidenceInterval"] = {"lowerBound": f"{score.low:.6g}", "upperBound": f"{score.high:.6g}"}
    return found
