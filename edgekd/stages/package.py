"""Stage 8: the artifact: the chosen file, how to feed it, vectors that prove it, and hashes of everything."""

import shutil
from pathlib import Path
from typing import Any

from edgekd.artifact.bill import software_bill
from edgekd.artifact.contract import FILE, contract_of
from edgekd.artifact.identity import write_identity
from edgekd.artifact.parity import read_parity
from edgekd.artifact.readme import write_readme
from edgekd.artifact.samples import write_samples
from edgekd.artifact.shipped_file import output_shapes
from edgekd.artifact.vectors import Reference, write_parity
from edgekd.external_data import copy_onnx
from edgekd.preprocessing import Preprocessing
from edgekd.record import Record
from edgekd.rendering.outline import Shipped, shipped_as
from edgekd.results import Candidate


class Packaged(Record):
    """File in the artifact to its SHA-256, and sentences on what it does not prove."""

    files: dict[str, str]
    notes: tuple[str, ...] = ()


def package(
    folder: Path,
    *,
    model: Path,
    chosen: Candidate,
    preprocessing: Preprocessing,
    task: str,
    classes: tuple[str, ...] | None,
    data: Path | None,
    reference: Reference,
    manifest: dict[str, Any],
    trained: Shipped,
    tokenizer: Path | None = None,
    optimised: Path | None = None,
) -> Packaged:
    """Fill `folder` with the artifact.

    Args:
        task: a name in `edgekd.tasks.table.TASKS`.
        data: the run's splits; the parity vectors are test inputs, or made up where there are none.
        reference: the pipeline's model, whose outputs the parity vectors expect.
        manifest: what the run was made from: source model, recipe, target, versions.
        trained: which of the students ships, or "teacher" where none was trained.
        tokenizer: the file that turns text into the model's input, for models of text.
        optimised: the model in ONNX Runtime's own format, where the chosen session loads that.
    """
    shipped = shipped_as(trained, chosen)
    copy_onnx(model, folder / "model.onnx")
    if optimised:
        shutil.copyfile(optimised, folder / optimised.name)
    outputs = output_shapes(folder / "model.onnx", chosen, preprocessing)
    contract = contract_of(preprocessing, task=task, classes=classes, outputs=outputs)
    (folder / FILE).write_text(contract.as_json() + "\n", encoding="utf-8")
    if tokenizer and preprocessing.tokens:
        shutil.copyfile(tokenizer, folder / preprocessing.tokens.file)
    if contract.answer != "outputs":
        names = (contract.label(index) for index in range(contract.outputs[0].shape[-1]))
        (folder / "labels.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    notes = write_parity(folder, contract, chosen=chosen, reference=reference, data=data)
    answer = read_parity(folder).answer
    write_samples(folder, contract, answer=answer, session=chosen.session)
    write_readme(folder, contract, answer=answer, chosen=chosen, target=manifest["target"], shipped=shipped)
    (folder / "sbom.cdx.json").write_text(software_bill(folder / "model.onnx", manifest))
    return Packaged(files=write_identity(folder, manifest, chosen=chosen, shipped=shipped), notes=notes)
