"""Stage 8: the artifact: the chosen file, how to feed it, vectors that prove it, and hashes of everything."""

import shutil
from pathlib import Path
from typing import Any

from edgekd.artifact.app.graph import LEAST_OPSET, write_app
from edgekd.artifact.bill import MODEL, write_bill
from edgekd.artifact.contract import Licences, Source, contract_of, write_contract
from edgekd.artifact.identity import write_identity
from edgekd.artifact.licences import Carried
from edgekd.artifact.parity.files import read_parity
from edgekd.artifact.parity.vectors import Kernels, Reference, write_parity
from edgekd.artifact.runtimes.files import write_runtime_files
from edgekd.artifact.samples.programs import write_samples
from edgekd.artifact.samples.readme import write_readme
from edgekd.artifact.shipped_file import gives_shares, output_shapes
from edgekd.device import DeviceProfile
from edgekd.external_data import copy_onnx, size_kib
from edgekd.preprocessing import Preprocessing
from edgekd.record import Record
from edgekd.rendering.outline import Shipped, shipped_as
from edgekd.results import Candidate

NOBODY_SAYS = Carried(Licences(), {})


class Packaged(Record):
    """File in the artifact to its SHA-256, the size of the model that ships, and sentences on what nothing proves."""

    files: dict[str, str]
    size_kib: float
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
    profile: DeviceProfile,
    trained: Shipped,
    max_opset: int = LEAST_OPSET,
    licences: Carried = NOBODY_SAYS,
    emulated: Kernels | None = None,
    tokenizer: Path | None = None,
) -> Packaged:
    """Fill `folder` with the artifact.

    Args:
        task: a name in `edgekd.tasks.table.TASKS`.
        data: the run's splits; the parity vectors are test inputs, or made up where there are none.
        reference: the pipeline's model, whose outputs the parity vectors expect.
        manifest: what the run was made from: source model, recipe, target, versions.
        profile: the target's.
        trained: which of the students ships, or "teacher" where none was trained.
        max_opset: what the device's runtime loads at most.
        licences: of what the model was made from.
        emulated: the target's kernels, where they are emulated.
        tokenizer: the file that turns text into the model's input, for models of text.
    """
    shipped, target = shipped_as(trained, chosen), str(manifest["target"])
    copy_onnx(model, folder / MODEL)
    contract = contract_of(
        preprocessing,
        task=task,
        classes=classes,
        outputs=output_shapes(folder / MODEL, chosen, preprocessing),
        licences=licences.licences,
        source=Source(model_sha256=(manifest.get("model") or {}).get("sha256"), target=target, shipped=shipped),
        shares=gives_shares(folder / MODEL),
    )
    if tokenizer and preprocessing.tokens:
        shutil.copyfile(tokenizer, folder / preprocessing.tokens.file)
    if contract.answer != "outputs":
        names = (contract.label(index) for index in range(contract.outputs[0].shape[-1]))
        (folder / "labels.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    licences.write(folder)
    notes = write_parity(folder, contract, chosen=chosen, reference=reference, data=data, emulated=emulated)
    contract = contract.model_copy(update={"answer": read_parity(folder).answer})
    if contract.kind != "array" or contract.answer != "outputs":
        write_app(folder / MODEL, contract, max_opset=max_opset, tokenizer=tokenizer)
    write_contract(folder, contract)
    chosen = chosen.model_copy(update={"size_kib": size_kib(folder / MODEL)})
    own = write_runtime_files(folder, profile=profile, chosen=chosen, emulate=emulated is not None)
    write_samples(folder, contract, session=chosen.session)
    write_readme(folder, contract, chosen=chosen, own=own, target=target, shipped=shipped)
    write_bill(folder, contract, chosen=chosen, manifest=manifest, limits=notes)
    manifest = {**manifest, "runtime_files": own.model_dump(mode="json")}
    files = write_identity(folder, manifest, chosen=chosen, shipped=shipped)
    return Packaged(files=files, size_kib=chosen.size_kib or 0.0, notes=(*notes, *own.left_out))
