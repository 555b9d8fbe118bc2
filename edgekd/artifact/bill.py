"""The software bill of materials of an artifact, in CycloneDX: the model and the libraries that made it."""

import json
from pathlib import Path
from typing import Any

from cyclonedx.model import HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6

from edgekd.workspace import file_sha256


def software_bill(model: Path, manifest: dict[str, Any]) -> str:
    """CycloneDX 1.6 JSON. Serial number and time are left out, so that the same artifact has the same bill."""
    bom = Bom()
    bom.metadata.component = Component(
        name=model.name,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        hashes=[HashType.from_hashlib_alg("sha256", file_sha256(model))],
    )
    libraries = [
        Component(name=name, version=str(version), type=ComponentType.LIBRARY)
        for name, version in sorted(manifest.get("versions", {}).items())
    ]
    bom.components.update(libraries)
    bom.register_dependency(bom.metadata.component, libraries)
    bill = JsonV1Dot6(bom)
    document = json.loads(bill.output_as_string())
    document.pop("serialNumber", None)
    document.get("metadata", {}).pop("timestamp", None)
    return json.dumps(document, indent=1, sort_keys=True) + "\n"
